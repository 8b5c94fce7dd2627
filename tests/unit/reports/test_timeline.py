"""A timeline as text, table and figure: the answer has the numbers of the table, and changes are real ones."""

from __future__ import annotations

import pytest
from stepaudit.harness.judging.timeline import Timeline, TimelineCell, TimelineRow
from stepaudit.harness.judging.verdict import CellOutcome
from stepaudit.reports.timeline import page_of, timeline_frame, write_timeline
from stepaudit.reports.timeline_text import answer, cell_text, changes, groups
from stepaudit.scenarios import Scenario

SHAPE = Scenario(rows=9, grad_accum=2, epochs=2.0, first_label="masked", max_grad_norm=0.0)


def cell(scenario=SHAPE, **changes):
    right = {
        "outcome": CellOutcome.CONFORMS,
        "windows": [2, 2, 1, 2, 2, 1],
        "updates_due": 6,
        "rows": 18,
        "rows_due": 18,
        "ratio_least": 1.0,
        "ratio_most": 1.0,
        "scales": ["1"],
    }
    return TimelineCell(label=scenario.label, scenario=scenario.to_mapping(), **(right | changes))


HALVED = {
    "outcome": CellOutcome.DEVIATES,
    "ratio_least": 0.5,
    "ratio_most": 0.5,
    "scales": ["1/2"],
    "rules": ["weight"],
}


def history(*cells, pairs=()):
    rows = [
        TimelineRow(
            release=f"{number}.0",
            subject="s",
            pair=pair,
            packages={"pkg": f"{number}.0", "other": other},
            cells=[item],
        )
        for pair, other, items in (("of its time", "1", cells), ("asked for", "2", pairs))
        for number, item in enumerate(items, start=1)
    ]
    return Timeline(package="pkg", contract="hf-5", contract_title="t", command="c", packages={}, rows=rows)


def test_a_change_is_told_with_what_it_changes():
    """Between the two releases where it happens, and nowhere else."""
    (change, back) = changes(history(cell(), cell(**HALVED), cell(**HALVED), cell()))
    assert (change.before, change.after, change.scenarios) == ("1.0", "2.0", "1 of 1")
    assert "size of the gradient in 1 (×1 → ×1/2)" in change.what
    assert "now breaks `weight`" in change.what
    assert (back.before, back.after) == ("3.0", "4.0")


def test_releases_that_train_alike_are_no_change():
    """Another order of rows gives other ratios."""
    loose = HALVED | {"scales": ["~"]}
    assert changes(history(cell(**loose), cell(**(loose | {"ratio_most": 0.7})))) == []


def test_the_answer_begins_with_how_much_changes():
    """Then one sentence a kind of model, from release to release."""
    opening, sentence = answer(history(cell(), cell(**HALVED), cell()))
    assert opening.startswith("Of 3 releases of pkg run here (1.0 to 3.0), 2 of the 2 steps")
    assert "1.0 right in all 1; 2.0 wrong in 1 of 1 (weights ×0.50); 3.0 right in all 1" in sentence


def test_pairs_are_told_by_whether_they_run_and_whether_they_differ():
    """A pair that cannot run is no difference in training."""
    dead = TimelineCell(
        label=SHAPE.label, scenario=SHAPE.to_mapping(), outcome=CellOutcome.ERROR, reason="ImportError: no"
    )
    last = answer(history(cell(), cell(), cell(), pairs=(cell(), dead, cell(**HALVED))))[-1]
    assert (
        "With other 2 instead of that of its time, 1 releases do not run (2.0) and 1 train differently (3.0)."
        in last
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "W 2×2 1 2×2 1, 18/18 rows, ×1.00"),
        (HALVED, "W 2×2 1 2×2 1, 18/18 rows, ×0.50, weight"),
        ({"windows": [], "rows": 0, "ratio_least": None, "ratio_most": None}, "W none, 0/18 rows"),
    ],
)
def test_a_cell_reads_as_windows_rows_ratio_rules(changes, text):
    """Runs of equal windows are counted."""
    assert cell_text(cell(**changes)) == text


def test_scenarios_are_grouped_by_the_model_and_by_what_else_is_asked():
    """Every scenario is in one group."""
    other = SHAPE.with_(epochs=1.5)
    one = history(cell())
    two = one.model_copy(update={"rows": [one.rows[0].model_copy(update={"cells": [cell(), cell(other)]})]})
    found = dict(groups(two))
    assert [len(labels) for labels in found.values()] == [1, 1]
    assert "epochs 1.5" in found["Other requests"][other.label]


def test_every_file_is_written(tmp_path):
    """JSON, CSV with a line a cell, figure, page, and the page where it is asked for."""
    shown = history(cell(), cell(**HALVED))
    write_timeline(shown, tmp_path, tmp_path / "page.md")
    assert Timeline.model_validate_json((tmp_path / "timeline.json").read_text()) == shown
    assert len((tmp_path / "timeline.csv").read_text().splitlines()) == 1 + len(timeline_frame(shown)) == 3
    assert (tmp_path / "figures" / "timeline.png").read_bytes().startswith(b"\x89PNG")
    assert "page.svg" in (tmp_path / "page.md").read_text()
    assert (tmp_path / "page.svg").is_file()


def test_the_page_has_the_answer_the_changes_and_a_table(tmp_path):
    """In this order."""
    page = page_of(history(cell(), cell(**HALVED)), "figure.svg")
    places = [page.index(text) for text in ("Of 2 releases", "![", "| 1.0 | 2.0 |", "| 1.0 (other 1) | ✓ W")]
    assert places == sorted(places)
