"""The cells of a timeline: what of a record is told, and when two releases train alike."""

from __future__ import annotations

from dataclasses import replace

from hand_written import broken, failed, record
from stepaudit.harness.contract import CONTRACTS
from stepaudit.harness.judging.timeline import Timeline, TimelineRow, timeline_cell
from stepaudit.harness.judging.verdict import CellOutcome
from stepaudit.harness.ledger import OptimizerStep

CONTRACT = CONTRACTS["token-mean"]


def scaled(item, factor):
    """The same record with every weight times `factor`."""
    events = tuple(
        replace(event, weights={row: weight * factor for row, weight in event.weights.items()})
        if isinstance(event, OptimizerStep)
        else event
        for event in item.events
    )
    return replace(item, events=events)


def test_a_release_that_is_right_is_told_so():
    """W, rows, weights of 1, gradients of their size, no rule of accounting."""
    cell = timeline_cell(record(4), CONTRACT)
    assert cell.outcome is CellOutcome.CONFORMS
    assert (cell.windows, cell.rows, cell.rows_due) == ([1, 1, 1, 1], 4, 4)
    assert (cell.ratio_least, cell.ratio_most, cell.scales) == (1.0, 1.0, ["1"])


def test_more_updates_than_asked_for_show_in_w_rows_and_rules():
    """The due is the contract's."""
    cell = timeline_cell(broken(), CONTRACT)
    assert cell.outcome is CellOutcome.DEVIATES
    assert (len(cell.windows), cell.updates_due) == (8, 4)
    assert (cell.rows, cell.rows_due) == (8, 4)
    assert "target" in cell.rules


def test_the_size_of_a_gradient_is_named():
    """Twice, half, and what is no such number."""
    for factor, scale in ((2.0, "2"), (0.5, "1/2"), (0.87, "~")):
        cell = timeline_cell(scaled(record(4), factor), CONTRACT)
        assert cell.scales == [scale]
        assert "weight" in cell.rules
        assert cell.ratio_most == factor


def test_what_was_not_judged_says_why():
    """The error of the cell, and no numbers."""
    cell = timeline_cell(failed(), CONTRACT)
    assert cell.outcome is CellOutcome.ERROR
    assert cell.reason == "signal 9"
    assert cell.rows is None


def test_two_releases_train_alike_where_only_the_order_differs():
    """A ratio of single rows depends on the shuffle and is no difference; a size is one."""
    right, large = timeline_cell(record(4), CONTRACT), timeline_cell(scaled(record(4), 2.0), CONTRACT)
    assert right.signature == right.model_copy(update={"ratio_most": 1.3}).signature
    assert right.signature != large.signature


def test_a_timeline_survives_its_own_json():
    """Written strictly, read strictly."""
    cells = [timeline_cell(item, CONTRACT) for item in (record(4), failed())]
    row = TimelineRow(release="1.0", subject="loop", pair="of its time", packages={"torch": "2"}, cells=cells)
    history = Timeline(
        package="loop", contract="token-mean", contract_title="t", command="c", packages={}, rows=[row]
    )
    assert Timeline.model_validate_json(history.model_dump_json()) == history
