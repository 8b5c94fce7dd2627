"""What a cell's page shows besides the verdict: lanes, weight books, curves; and which cells have them."""

import json
import math
from dataclasses import replace

import pytest
from stepaudit.harness.contract import CONTRACTS, draw_up
from stepaudit.harness.ledger import (
    Backward,
    CellRecord,
    EpochBegan,
    Fetched,
    Forward,
    GradsZeroed,
    OptimizerStep,
    Outcome,
)
from stepaudit.reports.cell_curves import MOST_POINTS, cell_curves_of
from stepaudit.reports.details import MOST_CELLS, MOST_CHARACTERS, details_of
from stepaudit.reports.lanes import AFTER, BEFORE, lanes_of
from stepaudit.reports.weight_books import FOREIGN, weight_books_of
from stepaudit.scenarios import Scenario


def window(update, rows, weights):
    """Return the events of one update of one micro-batch, 3 label tokens a row."""
    tokens = (3,) * len(rows)
    return [
        Fetched(rows=rows, epoch=0),
        Forward(
            micro_batch=update,
            rows=rows,
            epoch=0,
            label_tokens=tokens,
            input_tokens=12,
            divisor=None,
            loss=1.0,
        ),
        Backward(micro_batch=update, scale=1.0),
        OptimizerStep(learning_rates=(0.1,), grad_norm=0.5, weights=weights, suppressed=False),
        GradsZeroed(),
    ]


def books_of(*windows):
    events = [EpochBegan(epoch=0)]
    for update, (rows, weights) in enumerate(windows):
        events += window(update, rows, weights)
    record = CellRecord(
        cell_id="c",
        scenario=Scenario(rows=8, max_grad_norm=0.0, max_steps=max(len(windows), 1)),
        subject="plain",
        contract="hf-5",
        versions={},
        device="cpu",
        outcome=Outcome.COMPLETED,
        events=tuple(events),
    )
    return draw_up(record, CONTRACTS["hf-5"])


def test_lanes_mark_the_event_where_the_books_part(verdicts, ledgers, founding):
    """The marked letter is the divergent event's, whatever is left out before it."""
    item = founding.cells[4]
    record = ledgers.lookup_for(founding)(item.id)
    at = next(
        position
        for position, event in enumerate(record.events)
        if isinstance(event, OptimizerStep)
        and sum(isinstance(one, OptimizerStep) for one in record.events[:position]) == 8
    )
    lanes = lanes_of(record.events, at)
    assert lanes.letters[lanes.mark] == "o"
    assert lanes.letters[: lanes.mark].count("o") + lanes.updates == 8
    assert "F" not in lanes.letters


def test_lanes_are_bounded_and_say_what_is_left_out():
    """A run of any length gives a stretch of at most so many events, with the mark in it."""
    events = [event for update in range(5000) for event in window(update, (0, 1), None)]
    lanes = lanes_of(events, len(events) // 2)
    assert len(lanes.letters) <= BEFORE + AFTER
    assert lanes.total == 4 * 5000
    assert 0 <= lanes.mark <= len(lanes.letters)
    assert lanes.first + len(lanes.letters) < lanes.total


def test_a_missing_event_is_marked_at_the_end():
    """Where the books part because something never came, the mark stands behind the last event."""
    lanes = lanes_of(window(0, (0, 1), None), None, missing=True)
    assert lanes.mark == len(lanes.letters) == 4


def test_weights_are_multiples_of_what_was_due():
    """1 is right; twice, nothing at all and a row from outside the window are told apart."""
    right = 1 / 6
    books = weight_books_of(books_of(((0, 1), {0: right, 1: right}), ((2, 3), {2: 2 * right, 0: right})), 2)
    at = {(books.rows[line], books.updates[column]): value for line, column, value in books.entries}
    assert at == {(0, 1): 1, (1, 1): 1, (2, 2): 2, (3, 2): 0, (0, 2): FOREIGN}


def test_without_weights_there_are_no_books():
    """A ledger without weight books has none to show."""
    assert weight_books_of(books_of(((0, 1), None)), 1) is None


def test_curves_are_counted_in_four_units_and_thinned_out():
    """After the last update, updates, micro-batches, rows and tokens are those of the whole run."""
    curves = cell_curves_of(books_of(*[((0, 1), None)] * 500))
    assert len(curves.updates) <= MOST_POINTS
    assert (curves.updates[-1], curves.micro_batches[-1], curves.rows[-1], curves.tokens[-1]) == (
        500,
        500,
        1000,
        3000,
    )
    assert curves.total == 500
    assert len(set(map(len, (curves.losses, curves.learning_rates, curves.grad_norms)))) == 1
    assert cell_curves_of(books_of()) is None


def test_what_is_not_finite_is_a_gap(founding, ledgers):
    """A NaN loss is counted and left out; JSON has no number for it."""
    item = founding.cells[4]
    record = ledgers.lookup_for(founding, broken_losses=True)(item.id)
    curves = cell_curves_of(draw_up(record, CONTRACTS["hf-5"]))
    assert curves.not_finite > 0
    assert None in curves.losses
    assert all(value is None or math.isfinite(value) for value in curves.losses)


def test_the_smallest_and_largest_case_of_every_cluster_have_details(founding, ledgers):
    """And so have the reference's cells of the same scenario, to lay beside them."""
    details = details_of(founding, ledgers.lookup_for(founding))
    for cluster in founding.clusters:
        assert cluster.smallest in details.cells
        if cluster.largest:
            assert cluster.largest.cell_id in details.cells
    twins = [item["reference"] for item in details.cells.values() if item["reference"]]
    assert twins
    assert set(twins) <= set(details.cells)
    json.dumps(details.cells, allow_nan=False)


def test_details_have_a_budget(large, ledgers):
    """Many deviating cells do not make a page that does not open."""
    verdict = large(2000)
    details = details_of(verdict, ledgers.lookup_for(verdict))
    assert 0 < len(details.cells) <= MOST_CELLS
    assert len(json.dumps(details.cells, separators=(",", ":"))) <= MOST_CHARACTERS


@pytest.mark.parametrize("missing", ["record", "contract"])
def test_a_cell_without_books_has_no_details(founding, missing):
    """A lost record or a contract of another release leaves the page without drawings, not without a page."""
    verdict = founding
    if missing == "contract":
        verdict = founding.model_copy(
            update={"cells": [item.model_copy(update={"contract": "hf-99"}) for item in founding.cells]}
        )
    assert details_of(verdict, lambda _: None).cells == {}


def test_a_conforming_cell_can_be_chosen(verdicts, ledgers):
    """A run of the numeric tier that comes near its envelope is looked at even where nothing deviates."""
    verdict = verdicts.passed_verdict().model_copy(update={"clusters": []})
    lookup = ledgers.lookup_for(verdict)
    assert details_of(verdict, lookup).cells == {}
    assert list(details_of(verdict, lookup, also=[verdict.cells[0].id]).cells) == [verdict.cells[0].id]


def test_a_projected_weight_within_its_tolerance_is_right():
    """Weights of a real model come by projection: rounding is no finding, in the drawing as in the rule."""
    right = 1 / 6
    written = books_of(((0, 1), {0: right * (1 + 3e-6), 1: right * 1.2, 5: 1e-9}))
    traced = weight_books_of(written, 1)
    numeric = replace(written, scenario=written.scenario.with_(tier="numeric", model="tiny-llama"))
    projected = weight_books_of(numeric, 1)
    assert [value for _, _, value in traced.entries] == [pytest.approx(1.000003, abs=1e-9), 1.2, FOREIGN]
    assert [value for _, _, value in projected.entries] == [1, 1.2]
