"""report.html in a browser: opens from a file, asks for nothing, works without script and with the keyboard."""

import base64
import re

import pytest
from selenium.webdriver.common.keys import Keys

ACTIVE_ROW = "return document.activeElement.dataset.row"

CONTRAST = """
const linear = (v) => (v / 255 <= .03928 ? v / 3294.6 : ((v / 255 + .055) / 1.055) ** 2.4);
const luminance = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
const colour = (text) => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const ground = (element) => {
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    const [r, g, b, a] = colour(getComputedStyle(at).backgroundColor);
    if (a > 0) layers.push([r, g, b, a / 255]);
    if (a === 255) break;
  }
  const over = (below, [r, g, b, a]) => [r, g, b].map((v, i) => v * a + below[i] * (1 - a));
  return layers.reverse().reduce(over, [255, 255, 255]);
};
const poor = [];
for (const element of document.querySelectorAll('body *:not(svg *):not(script):not(style)')) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || !element.checkVisibility() || element.closest('.hidden, .skip')) continue;
  const [x, y] = [luminance(colour(getComputedStyle(element).color)), luminance(ground(element))];
  const ratio = (Math.max(x, y) + .05) / (Math.min(x, y) + .05);
  const what = `${element.tagName}.${element.className} ${element.textContent.slice(0, 40)}`;
  if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${what}`);
}
return poor;
"""


def test_opens_from_a_file(tab, reports):
    """No message on the console, and the only address asked for is the page's own."""
    tab.open(reports("founding"))
    assert tab.one("h1").text.startswith("unsloth-zoo@2024.10.0 and")
    assert tab.console() == []
    assert {url for url in tab.fetched() if not url.startswith(("data:", "about:"))} == {
        (reports("founding") / "report.html").as_uri()
    }


def test_the_first_screen_says_what_is_wrong(tab, reports):
    """What is wrong, in which versions, since when, how to see it again, exit code and counts: without scrolling."""
    tab.open(reports("founding"))
    for selector in (".stamp", "h1", ".first .version", ".first .command", ".meta", ".facts"):
        assert (
            tab.run("return document.querySelector(arguments[0]).getBoundingClientRect().bottom", selector)
            <= 900
        )
    text = tab.one(".first").text
    for part in (
        "700 optimizer steps instead of 350 optimizer steps",
        "every run makes exactly T optimizer steps",
        "optimizer steps = (E_floor·T) // E = (2·350) // 1 = 700",
        "E_floor > E: 2/2 fail; elsewhere 0/1",
        "✗ 2024.10.0",
        "✗ 2026.10.5",
        "✓ 2026.10.6",
        "since 2024.10.0 or earlier (no older version ran), up to 2026.10.5; right from 2026.10.6 on",
        "stepaudit replay 0004c0ffee5a78dde6c4",
    ):
        assert part in text


def test_without_script(tab, reports, artefacts):
    """Verdict, clusters and reproduce lines are there; controls that would do nothing are not."""
    tab.scripts(enabled=False)
    tab.open(reports("founding"))
    body = tab.one("body").text
    for part in (
        "FAILED",
        "700 instead of 350",
        "16 optimizer steps",
        "stepaudit replay 0004c0ffee5a78dde6c4",
        "(E_floor·T) // E = (2·350) // 1 = 700",
        "E_floor > E: 2/2 fail; elsewhere 0/1",
        "right from 2026.10.6 on",
    ):
        assert part in body
    assert "Below are the worst 22 of 22 cells; cells.csv has all." in body
    assert not [element for element in tab.all(".js") if element.is_displayed()]
    assert len(tab.all("#cell-table tbody tr")) == 22
    tab.driver.save_screenshot(str(artefacts / "without-script.png"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colour_schemes(tab, reports, artefacts, scheme):
    """Every visible text has a contrast of at least 4.5 to what is behind it, and the figures follow the scheme."""
    tab.scheme(scheme)
    tab.open(reports("founding"))
    tab.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert tab.run(CONTRAST) == []
    fills = tab.run(
        "return [...document.querySelectorAll('svg text')].map((one) => getComputedStyle(one).fill)"
    )
    assert ("rgb(231, 234, 238)" in fills) == (scheme == "dark")
    tab.open(reports("founding"))
    tab.driver.save_screenshot(str(artefacts / f"overview-{scheme}.png"))
    tab.run("document.querySelector('.cluster').scrollIntoView()")
    tab.driver.save_screenshot(str(artefacts / f"cluster-{scheme}.png"))
    tab.run("document.querySelector('#matrix').scrollIntoView()")
    tab.driver.save_screenshot(str(artefacts / f"matrix-{scheme}.png"))
    tab.run("document.querySelector('#cells').scrollIntoView()")
    tab.driver.save_screenshot(str(artefacts / f"cells-{scheme}.png"))
    tab.open(reports("founding"), "#cell=0003c0ffee5adaa66d13")
    assert tab.run(CONTRAST) == []
    tab.driver.save_screenshot(str(artefacts / f"cell-{scheme}.png"))
    tab.run("document.querySelector('.lanes').scrollIntoView()")
    tab.driver.save_screenshot(str(artefacts / f"cell-events-{scheme}.png"))


@pytest.mark.parametrize("width", [360, 768, 1920])
def test_no_sideways_scrolling(tab, reports, width):
    """On a phone as on a wide screen the page is as wide as the window; wide tables scroll in themselves."""
    tab.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False},
    )
    try:
        for name in ("founding", "hostile"):
            tab.open(reports(name))
            assert tab.run("return document.documentElement.scrollWidth") <= width
    finally:
        tab.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_keyboard_only(tab, reports):
    """Search with /, walk with the arrows, open with Enter, close with Escape, and be where one was."""
    from selenium.webdriver import ActionChains

    def press(*keys):
        ActionChains(tab.driver).send_keys(*keys).perform()

    tab.open(reports("founding"))
    press("/")
    assert tab.driver.switch_to.active_element.get_attribute("id") == "query"
    press("subject:hf", Keys.ARROW_DOWN)
    first = tab.run(ACTIVE_ROW)
    press(Keys.ARROW_DOWN)
    second = tab.run(ACTIVE_ROW)
    assert [first, second] == [str(row) for row in tab.rows()[:2]]
    tab.moving(lambda: press(Keys.ENTER))
    assert tab.one("dialog").is_displayed()
    tab.moving(lambda: press("j"))
    assert "3 of 4" in tab.one("dialog .place").text
    tab.moving(lambda: press(Keys.ESCAPE))
    assert not tab.one("dialog").is_displayed()
    assert tab.run("return location.hash") == "#q=subject%3Ahf"
    tab.wait("document.activeElement.dataset.row !== undefined")


def test_copy_button(tab, reports):
    """The button copies the whole line and says so."""
    tab.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite"]})
    tab.open(reports("founding"))
    button = tab.one(".card .copy")
    button.click()
    tab.run("return new Promise((done) => setTimeout(done, 200))")
    assert button.text == "Copied"
    tab.one("#query").send_keys(Keys.CONTROL, "v")
    assert tab.one("#query").get_property("value") == "stepaudit replay 0004c0ffee5a78dde6c4"


def test_hostile_text(tab, reports):
    """Nothing that a stranger wrote runs or becomes an element, in the page or in any cell's panel."""
    tab.open(reports("hostile"))
    title = tab.driver.title
    for cell_id in tab.ids()[:36]:
        tab.moving(lambda cell_id=cell_id: tab.run("location.hash = 'cell=' + arguments[0]", cell_id))
        assert tab.one("dialog h2").text
    assert tab.driver.title == title
    assert not tab.all("img, iframe, object, embed, base")
    assert len(tab.all("script")) == 2
    assert tab.console() == []
    assert all(url.startswith(("file:", "data:", "about:")) for url in tab.fetched())


def test_prints(tab, reports, artefacts):
    """The print is A4 pages with the verdict and the evidence, on white in dark mode too; controls stay away."""
    tab.open(reports("founding"))
    settings = {"printBackground": True, "paperWidth": 8.27, "paperHeight": 11.69}
    result = tab.driver.execute_cdp_cmd("Page.printToPDF", settings)
    pdf = base64.b64decode(result["data"])
    (artefacts / "print.pdf").write_bytes(pdf)
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 40
    tab.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    try:
        assert tab.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not [item for item in tab.all(".bar, .search, .copy, .keys") if item.is_displayed()]
        assert tab.one(".first").is_displayed()
        assert tab.run(CONTRAST) == []
        tab.driver.save_screenshot(str(artefacts / "print.png"))
    finally:
        tab.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_passed_page(tab, reports, artefacts):
    """A clean run looks like one."""
    tab.open(reports("passed"))
    assert tab.one(".stamp").text == "✓ PASSED"
    assert "No rule is broken" in tab.one("#clusters").text
    tab.driver.save_screenshot(str(artefacts / "passed.png"))
