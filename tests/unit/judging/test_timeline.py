"""The cells of a timeline: what of a record is told, and when two releases train alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hand_written import broken, failed, record, refused
from stepaudit.harness.contract import CONTRACTS
from stepaudit.harness.judging.timeline import Timeline, TimelineRow, timeline_cell
from stepaudit.harness.judging.verdict import CellOutcome
from stepaudit.harness.ledger import Backward, Claims, EpochBegan, Forward, OptimizerStep

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


@pytest.mark.parametrize(
    ("factor", "scale"),
    [
        (1.0, "1"),
        (2.0, "2"),
        (0.5, "1/2"),
        (1 / 3, "1/3"),
        (0.87, "~"),
        (1.5, "~"),
        (64.0, "64"),
        (65.0, "~"),
        (1 / 64, "1/64"),
        (1 / 65, "~"),
        (3.0002, "3"),
        (3.0006, "~"),
        (1 / 3.0002, "1/3"),
        (1 / 3.0006, "~"),
        (0.0, "~"),
        (-1.0, "~"),
    ],
)
def test_the_size_of_a_gradient_is_named(factor, scale):
    """Whole numbers and their inverses up to 64, to the error of a projection; what is no such number is `~`."""
    cell = timeline_cell(scaled(record(4), factor), CONTRACT)
    assert cell.scales == [scale]
    assert (cell.ratio_least, cell.ratio_most) == (factor, factor)
    assert ("weight" in cell.rules) == (factor != 1.0)


def window_of_two(*weights, tokens=(4, 4)):
    """One update of two micro-batches, rows 0 and 1, with these weights."""
    events = []
    for row, count in enumerate(tokens):
        events += [
            replace(event, micro_batch=row, rows=(row,), label_tokens=(count,))
            if isinstance(event, Forward)
            else replace(event, micro_batch=row)
            for event in record(1).events
            if isinstance(event, Forward | Backward)
        ]
    (step,) = (event for event in record(1).events if isinstance(event, OptimizerStep))
    events.append(replace(step, weights=None if weights == (None,) else dict(enumerate(weights))))
    began = [event for event in record(1).events if isinstance(event, EpochBegan)]
    return replace(record(1, grad_accum=2, max_steps=1), events=(*began, *events))


@pytest.mark.parametrize(
    ("item", "ratios", "scales"),
    [
        (window_of_two(0.125, 0.125), (1.0, 1.0), ["1"]),
        (window_of_two(0.125), (0.0, 1.0), ["1/2"]),
        (window_of_two(), (0.0, 0.0), ["~"]),
        (window_of_two(0.0625, 0.1875), (0.5, 1.5), ["1"]),
        (window_of_two(0.125, 0.25), (1.0, 2.0), ["~"]),
        (window_of_two(0.125, 0.125, tokens=(2, 6)), (1.0, 1.0), ["1"]),
        (window_of_two(0.25, 0.25 / 3, tokens=(2, 6)), (pytest.approx(2 / 3), 2.0), ["1"]),
        (window_of_two(0.25, 0.125, tokens=(4, 0)), (1.0, 1.0), ["1"]),
        (window_of_two(0.25, 0.25, tokens=(0, 0)), (None, None), ["1"]),
        (window_of_two(None), (None, None), []),
    ],
)
def test_rows_are_weighed_one_by_one_and_together(item, ratios, scales):
    """Each row against its due, and the gradient as a whole by label tokens; without weights there is neither."""
    cell = timeline_cell(item, CONTRACT)
    assert (cell.ratio_least, cell.ratio_most) == ratios
    assert cell.scales == scales
    assert (cell.windows, cell.rows) == ([2], 2)


def test_a_short_window_is_held_against_what_its_contract_gives_it():
    """A contract that divides by the accumulation asked for gives a window of one micro-batch half a gradient."""
    item = record(1, grad_accum=2, max_steps=1)  # weighs its 4 label tokens 1/4 each
    assert timeline_cell(item, CONTRACTS["hf-4.45"]).scales == ["2"]
    assert timeline_cell(scaled(item, 0.5), CONTRACTS["hf-4.45"]).scales == ["1"]


@pytest.mark.parametrize(
    ("asked", "due"),
    [
        ({"max_steps": 3}, 10),
        ({"max_steps": 4}, 14),
        ({"max_steps": 8}, 28),
        ({"max_steps": 3, "drop_last": True}, 12),
        ({"max_steps": 2, "drop_last": True, "per_device_batch_size": 16}, 0),
        ({"max_steps": 2, "per_device_batch_size": 16}, 20),
        ({"max_steps": 2, "per_device_batch_size": 2, "ranks": 2}, 8),
        ({"max_steps": 4, "per_device_batch_size": 2, "ranks": 2}, 14),
        ({"max_steps": 3, "rows": 1}, 3),
    ],
)
def test_rows_that_are_due(asked, due):
    """Micro-batches are full but for the last of an epoch, which drop_last leaves out."""
    cell = timeline_cell(record(0, **({"rows": 10, "per_device_batch_size": 4} | asked)), CONTRACT)
    assert (cell.rows, cell.rows_due) == (0, due)


def test_what_is_only_said_is_told_apart_from_what_is_done():
    """Rules of accounting decide the outcome; a log that is missing does not."""
    silent = {"logging_steps": 1, "claims": Claims(log=())}
    cell = timeline_cell(record(4, **silent), CONTRACT)
    assert cell.outcome is CellOutcome.CONFORMS
    assert (cell.rules, cell.further) == ([], ["log"])
    both = timeline_cell(record(8, **silent), CONTRACT)
    assert both.outcome is CellOutcome.DEVIATES
    assert both.further == ["log"]
    assert "log" not in both.rules
    assert "target" in both.rules


def test_what_was_not_judged_says_why():
    """The error of the cell, and no numbers."""
    cell = timeline_cell(failed(), CONTRACT)
    assert cell.outcome is CellOutcome.ERROR
    assert cell.reason == "signal 9"
    assert cell.rows is None
    declined = timeline_cell(refused(), CONTRACT)
    assert (declined.outcome, declined.reason) == (CellOutcome.UNSUPPORTED, "no reason")


def test_two_releases_train_alike_where_only_the_order_differs():
    """A ratio of single rows depends on the shuffle and is no difference; a size is one."""
    right, large = timeline_cell(record(4), CONTRACT), timeline_cell(scaled(record(4), 2.0), CONTRACT)
    assert right.signature == right.model_copy(update={"ratio_most": 1.3}).signature
    assert right.signature != large.signature
    odd = right.model_copy(update={"scales": ["1", "~"]})
    assert odd.signature == right.model_copy(update={"scales": ["2", "~"]}).signature
    assert odd.signature != right.signature


def test_a_timeline_survives_its_own_json():
    """Written strictly, read strictly."""
    cells = [timeline_cell(item, CONTRACT) for item in (record(4), failed())]
    row = TimelineRow(release="1.0", subject="loop", pair="of its time", packages={"torch": "2"}, cells=cells)
    history = Timeline(
        package="loop", contract="token-mean", contract_title="t", command="c", packages={}, rows=[row]
    )
    assert Timeline.model_validate_json(history.model_dump_json()) == history
