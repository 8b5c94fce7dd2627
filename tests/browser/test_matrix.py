"""Subject × parameter: every number leads to its cells, and the arrow keys walk the table."""

import re

from selenium.webdriver.common.keys import Keys


def active(tab):
    return tab.driver.switch_to.active_element


def test_a_number_leads_to_its_cells(tab, reports):
    """The table below then shows as many cells as the number counted."""
    tab.open(reports("founding"))
    link = tab.one(".heat .hot a")
    deviating, judged = (int(part) for part in re.search(r"(\d+)/(\d+)", link.text).groups())
    tab.moving(link.click)
    query = tab.one("#query").get_property("value")
    tab.search(f"{query} verdict:conforms,deviates,flaky")
    assert int(tab.one("#found").text.split()[0]) == judged
    assert deviating <= judged


def test_arrow_keys_walk_over_what_is_empty(tab, reports):
    """Right and down go to the next number, and stay at the edge; Enter shows its cells."""
    tab.open(reports("founding"))
    tab.run(
        "const tables = [...document.querySelectorAll('.heat')];"
        "tables.find((one) => one.caption.textContent === 'rows').querySelector('td a').focus()"
    )
    first = active(tab)
    first.send_keys(Keys.ARROW_RIGHT)
    assert active(tab) != first
    assert active(tab).find_element("xpath", "ancestor::tr") == first.find_element("xpath", "ancestor::tr")
    active(tab).send_keys(Keys.ARROW_LEFT)
    assert active(tab) == first
    first.send_keys(Keys.ARROW_UP)
    assert active(tab) == first
    first.send_keys(Keys.ARROW_DOWN)
    assert active(tab).find_element("xpath", "ancestor::tr") != first.find_element("xpath", "ancestor::tr")
    active(tab).send_keys(Keys.ENTER)
    tab.wait("document.querySelector('#query').value.startsWith('subject:')")


def test_rules_lead_to_their_page(tab, reports):
    """A rule of the table is a link to its statement, formula, example and standing."""
    tab.open(reports("founding"))
    tab.one(".matrix th a[href='#rule-target']").click()
    page = tab.one("#rule-target").text
    for part in (
        "formula",
        "T = max_steps if max_steps > 0",
        "example",
        "broken, e.g.",
        "conforms",
        "unsloth-zoo@2026.10.6",
    ):
        assert part in page
