"""The search box: the grammar of the command line, permalinks, and errors that hide nothing."""

import pytest
from stepaudit.scenarios.selection import parse_selection

QUERIES = [
    "",
    "subject:hf",
    "subject:unsloth-zoo",
    "subject:unsloth-zoo@2026.10.5",
    "subject:unsloth*",
    'subject:"unsloth-zoo@2024.10.0" rule:"target"',
    "!subject:hf,plain",
    "accum:>1",
    "accum:2..8",
    "rows:..64",
    "accum:2..",
    "gradient_accumulation_steps:64",
    "grad-accum:<=4 !rows:60",
    "rows:60,64",
    "max_steps:none",
    "!max_steps:none",
    "epochs:>1",
    "epochs:1.5",
    "verdict:deviates",
    "verdict:error,flaky",
    "verdict:unsupported",
    "!verdict:conforms",
    "verdict:deviates !known rule:target",
    "known",
    "!known new",
    "standing:drifted,expired",
    "rule:weight",
    "rule:t*",
    "schedule:lin*",
    "protocol:ignored dataset:sized",
    "dataset:iterable",
    "drop_last:false",
    "!drop_last",
    "shuffle",
    "resume_at:none",
    "contract:hf-5",
    "id:0003c0ffee5adaa66d13",
    "id:0003*",
]


def flat(cell):
    """Return a cell as the selection grammar of the command line sees it."""
    standings = {deviation.standing.value for deviation in cell.deviations}
    return {
        **cell.scenario,
        "id": cell.id,
        "suite": "founding",
        "subject": cell.subject,
        "contract": cell.contract,
        "verdict": cell.verdict.value,
        "rule": [deviation.rule for deviation in cell.deviations],
        "standing": sorted(standings),
        **{word: word in standings for word in ("new", "known", "drifted", "expired")},
    }


@pytest.mark.parametrize("text", QUERIES)
def test_same_as_the_command_line(tab, reports, founding, text):
    """The box finds exactly the cells that the command line's parser selects."""
    if not tab.driver.current_url.startswith((reports("founding") / "report.html").as_uri()):
        tab.open(reports("founding"))
    tab.driver.set_window_size(1280, 1600)
    tab.search(text)
    selection = parse_selection(text)
    assert set(tab.ids()) == {cell.id for cell in founding.cells if selection.matches(flat(cell))}
    assert tab.one("#query-problem").text == ""


@pytest.mark.parametrize(
    ("text", "subjects"),
    [
        ("observed:700", {"unsloth-zoo@2024.10.0", "unsloth-zoo@2026.10.5"}),
        ("claimed:none observed:>10", {"unsloth-zoo@2024.10.0", "unsloth-zoo@2026.10.5"}),
        ("accelerate", {"accelerate"}),
        ("ROWS=5590 deviates", {"unsloth-zoo@2024.10.0", "unsloth-zoo@2026.10.5"}),
        ('"max_steps=350" subject:hf', {"hf"}),
    ],
)
def test_beyond_the_command_line(tab, reports, text, subjects):
    """Observed, claimed and expected counts can be searched, and any word of subject, scenario and id."""
    tab.open(reports("founding"))
    tab.search(text)
    assert set(tab.texts("#cell-table tbody tr:not(.spacer) td:nth-child(2)")) == subjects


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("accm:4", "there is no field “accm”; did you mean “accum”?"),
        ("verdict:deviate", "verdict is never “deviate”; did you mean “deviates”?"),
        ("accum:many", "accum holds numbers, not “many”"),
        ("subject:", "“subject:” has no value"),
        ("accum:>", "accum holds numbers, not “>”"),
    ],
)
def test_a_mistake_is_said_and_hides_nothing(tab, reports, text, problem):
    """The message shows the value and the nearest valid word; the table stays as it was."""
    tab.open(reports("founding"))
    tab.search("subject:plain")
    before = tab.rows()
    tab.search(text)
    assert problem in tab.one("#query-problem").text
    assert tab.rows() == before
    assert tab.one("#query").get_attribute("aria-invalid") == "true"


def test_nothing_found_is_said(tab, reports):
    """An empty table says that no cell matches."""
    tab.open(reports("founding"))
    tab.search("rows:1")
    assert "No cell matches." in tab.one("#cell-table").text
    assert tab.one("#found").text == "0 of 22"


def test_permalink_opens_the_cell(tab, reports):
    """A link with search and cell shows both; going back closes the cell and keeps the search."""
    tab.open(reports("founding"), "#q=subject%3Aunsloth-zoo%20rule%3Atarget&cell=0003c0ffee5adaa66d13")
    dialog = tab.one("dialog")
    assert dialog.is_displayed()
    for part in (
        "unsloth-zoo@2024.10.0",
        "350 optimizer steps",
        "700 optimizer steps",
        "T = max_steps = 350",
        "+350",
    ):
        assert part in dialog.text
    assert "stepaudit replay 0003c0ffee5adaa66d13" in dialog.text
    assert tab.one("#query").get_property("value") == "subject:unsloth-zoo rule:target"
    assert len(tab.rows()) == 4
    tab.moving(lambda: tab.run("location.hash = 'q=subject%3Ahf'"))
    assert not tab.one("dialog").is_displayed()
    assert tab.one("#found").text == "4 of 22"


def test_a_link_to_no_cell_says_so(tab, reports):
    """A permalink of another run is told apart from an empty page."""
    tab.open(reports("founding"), "#cell=nonesuch")
    assert "This run has no cell nonesuch." in tab.one("dialog").text


def test_links_of_the_page_search(tab, reports):
    """Counts, clusters and the matrix lead to their cells."""
    tab.open(reports("founding"))
    tab.moving(tab.one(".matrix td.hit a").click)
    assert tab.one("#query").get_property("value") == 'rule:"target" subject:"unsloth-zoo@2024.10.0"'
    assert len(tab.rows()) == 2
    tab.run("window.scrollTo(0, 0)")
    tab.moving(tab.one(".facts .s-known a").click)
    assert tab.one("#found").text == "1 of 22"
    tab.moving(tab.one('[data-query="verdict:error,flaky"]').click)
    assert tab.one("#found").text == "3 of 22"


def test_sorting(tab, reports):
    """A click on a head sorts, another one turns round; a missing number comes last either way."""
    tab.open(reports("founding"))

    def observed():
        return tab.texts("#cell-table tbody tr:not(.spacer) td:nth-child(5)")

    head = tab.one('th[data-sort="observed"] button')
    head.click()
    assert observed()[0] == "6"
    assert observed()[-1] == "–"
    head.click()
    assert observed()[0] == "≠ 700"
    assert observed()[-1] == "–"
    assert tab.one('th[data-sort="observed"]').get_attribute("aria-sort") == "descending"
