"""The page of a cell: scenario, rules with numbers, lanes, weight books, curves; each control used."""

import pytest

OVERRUN = "0003c0ffee5adaa66d13"
WEIGHT = "0015c0ffee5af956151d"


def cell_of(founding, rule):
    return next(cell.id for cell in founding.cells if any(item.rule == rule for item in cell.deviations))


@pytest.fixture
def page(tab, reports):
    """The page of the largest overrun."""
    tab.open(reports("founding"), f"#cell={OVERRUN}")
    return tab


def test_the_scenario_is_a_difference_from_the_default(page):
    """Only what is not the default stands there, with the default; the rest is folded."""
    fields = {
        item.find_element("css selector", "dt").text: item.find_element("css selector", "dd").text
        for item in page.all("dialog > .fields > div")
    }
    assert fields == {
        "rows": "5590 default 16",
        "per_device_batch_size": "4 default 2",
        "grad_accum": "4 default 1",
        "max_steps": "350 default none",
    }


def test_every_rule_has_a_line_with_its_numbers(page):
    """Broken rules first: formula with numbers, expected, observed or claimed, the reference, and the difference."""
    lines = [
        [cell.text for cell in line.find_elements("css selector", "th, td")]
        for line in page.all(".reckoning tbody tr")
    ]
    assert lines[0][1:] == [
        "T = max_steps = 350 (max_steps > 0 overrides epochs)",
        "350 optimizer steps",
        "700 optimizer steps",
        "–",
        "350",
        "+350",
    ]
    assert lines[0][0].startswith("✗")
    assert lines[0][0].endswith("target")
    plan = next(line for line in lines if line[0].endswith("plan"))
    assert plan[4:] == ["700 (progress bar)", "–", "+350"]
    assert any(line[0] == "window" and "✓ holds" in line for line in lines)
    assert any(line[1] == "micro-batches" and line[-1] == "+1,400" for line in lines)


def test_the_lanes_mark_the_first_divergence(page):
    """Both runs have lanes; the mark is in view without scrolling, and is said in words."""
    subject, reference = page.all(".lane-strips svg")
    assert "the books part at event" in subject.get_attribute("aria-label")
    assert reference.get_attribute("aria-label").startswith("hf: ")
    names = [name.text for name in page.all(".lane-name")]
    for lane in ("micro-batch", "backward", "optimizer", "scheduler", "log", "save"):
        assert names.count(lane) == 2
    seen = page.run(
        "const band = document.querySelector('.mark-band').getBoundingClientRect();"
        "const view = document.querySelector('.lane-strips').getBoundingClientRect();"
        "return view.left <= band.left && band.right <= view.right"
    )
    assert seen


@pytest.mark.parametrize(
    ("unit", "last"), [("updates", "700"), ("micro_batches", "2,800"), ("rows", "11,200")]
)
def test_curves_by_update_micro_batch_row_or_token(page, unit, last):
    """The reader chooses the x-axis; the last tick is near the run's end in that unit."""
    page.one(f"input[name=unit][value={unit}]").click()
    figure = page.one(".plots svg")
    words = [text.text for text in figure.find_elements("css selector", "text")]
    assert any(
        int(word.replace(",", "")) > 0.8 * int(last.replace(",", ""))
        for word in words
        if word[0] in "123456789" and "." not in word
    )
    assert len(page.all(".plots .c-subject")) == len(page.all(".plots svg"))
    assert page.all(".plots .c-reference")


def test_weight_books_say_which_row_weighs_wrong(tab, reports, founding):
    """In words, and as a sign in the square beside the colour."""
    tab.open(reports("founding"), f"#cell={cell_of(founding, 'weight')}")
    text = tab.one("dialog").text
    assert "row 7 weighs 2 times what is due." in text
    assert tab.all(".books .w-heavy")
    assert tab.all(".books .sign")
    assert not tab.all(".books .w-foreign")


def test_a_cell_without_drawings_says_which_cells_have_them(tab, reports, founding):
    """Lanes of every cell would make the page too large; the choice is in words."""
    plain = next(cell.id for cell in founding.cells if cell.subject == "unsloth-zoo@2026.10.6")
    tab.open(reports("founding"), f"#cell={plain}")
    assert "the smallest and the largest case of every cluster" in tab.one("dialog").text
    assert not tab.all(".lanes")


def test_previous_next_link_and_close(page):
    """Each button of the page does what it says."""
    page.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite"]})
    first, second = page.ids()[:2]
    assert first == OVERRUN
    previous, following, link, _ = page.all("dialog .tools button")
    assert not previous.is_enabled()
    link.click()
    page.wait("document.getElementById('said').textContent === 'Copied'")
    assert page.run("return navigator.clipboard.readText()").endswith(f"#cell={first}")
    page.moving(following.click)
    assert page.run("return location.hash") == f"#cell={second}"
    page.moving(page.all("dialog .tools button")[0].click)
    assert page.run("return location.hash") == f"#cell={first}"
    page.all("dialog .tools button")[3].click()
    page.wait("!document.querySelector('dialog').open")
