"""The replay oracle: it comes to what the plain loop comes to, and its envelope widens as noise does."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from running_cells import books_of, broken, run_cell
from stepaudit.harness.contract import RULES, NotJudged
from stepaudit.harness.contract.books import reference_run
from stepaudit.harness.ledger import Curves, envelope_of, record_from_json, record_to_json


@pytest.fixture(scope="module")
def record():
    return run_cell("plain", max_steps=4)


def changed(record, **curves):
    """The record with other values in the subject's curves."""
    return replace(record, replay=replace(record.replay, subject=replace(record.replay.subject, **curves)))


def put(values, at, value):
    return (*values[:at], value, *values[at + 1 :])


def test_a_right_run_is_within_its_envelope(record):
    """And not by a wide envelope: float32 noise is some units of 2^-23, however the tolerance comes about."""
    books = books_of(record)
    assert not broken(books)
    replay = record.replay
    assert replay.complete
    assert replay.updates == 4
    assert all(
        width < 1e-4 * loss for width, loss in zip(replay.envelope.losses, replay.exact.losses, strict=True)
    )


def test_the_record_survives_json_with_values_that_are_no_numbers(record):
    """NaN and infinities included; None stays None."""
    odd = changed(record, losses=(math.nan, math.inf, None, 1.0))
    again = record_from_json(record_to_json(odd))
    assert repr(again.replay) == repr(odd.replay)
    assert record_from_json(record_to_json(record)) == record


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
@pytest.mark.parametrize("curve", ["losses", "grad_norms", "learning_rates"])
def test_what_is_no_number_is_a_finding(record, curve, value):
    """At the update where it is, in each of the three curves."""
    values = getattr(record.replay.subject, curve)
    (finding,) = RULES["curve"].judge(books_of(changed(record, **{curve: put(values, 2, value)})))
    assert finding.update == 3


def test_a_value_outside_the_envelope_is_a_finding(record):
    """Just inside and just outside of eight envelopes."""
    replay = record.replay
    width = 8 * replay.envelope.losses[1]
    for factor, holds in ((0.99, True), (1.01, False)):
        losses = put(replay.subject.losses, 1, replay.exact.losses[1] + factor * width)
        assert (not RULES["curve"].judge(books_of(changed(record, losses=losses)))) == holds


def test_a_replay_that_is_no_number_excuses_nothing(record):
    """NaN on both sides is not equality."""
    replay = record.replay
    lost = Curves(losses=(math.nan,) * 4, grad_norms=replay.own.grad_norms, learning_rates=(0.0,) * 4)
    spoilt = replace(replay, subject=lost, exact=lost, own=lost, envelope=envelope_of(lost, lost, 1e-7))
    assert RULES["curve"].judge(books_of(replace(record, replay=spoilt)))


def test_a_parameter_outside_its_distance_is_a_finding(record):
    """NaN, and one parameter of many that did not move."""
    first, *rest = record.replay.parameters
    for distance in (math.nan, first.moved):
        replay = replace(record.replay, parameters=(replace(first, subject=distance), *rest))
        (finding,) = RULES["params"].judge(books_of(replace(record, replay=replay)))
        assert first.name in finding.expected


def test_the_envelope_is_a_running_maximum_with_a_floor():
    """It never narrows, and is never below the floor times the value."""
    exact = Curves(losses=(1.0, 1.0, 1.0), grad_norms=(2.0, 2.0, math.nan), learning_rates=(0.1, 0.1, 0.1))
    own = Curves(losses=(1.0, 1.5, 1.1), grad_norms=(2.0, 2.0, 2.0), learning_rates=(0.1, 0.1, 0.1))
    envelope = envelope_of(exact, own, 0.04)
    assert envelope.losses == (0.04, 0.5, 0.5)
    assert envelope.grad_norms[:2] == (0.08, 0.08)
    assert math.isnan(envelope.grad_norms[2])
    assert envelope.learning_rates == (0.0, 0.0, 0.0)


def test_the_reference_is_compared_with_where_it_saw_the_same_rows(record):
    """A reference on the same rows that lies elsewhere is a finding; on other rows it says nothing."""
    books = books_of(record)
    same = reference_run(books)
    moved = replace(same.curves, losses=put(same.curves.losses, 3, 9.0))
    assert not RULES["curve"].judge(replace(books, reference=same))
    (finding,) = RULES["curve"].judge(replace(books, reference=replace(same, curves=moved)))
    assert "reference" in finding.text
    other = replace(same, curves=moved, rows=tuple(reversed(same.rows)))
    assert not RULES["curve"].judge(replace(books, reference=other))


def test_the_tracer_has_no_curves():
    """Its books are exact: the rules say so instead of passing."""
    books = books_of(run_cell("plain", model="tracer", tier="trace"))
    for name in ("curve", "params"):
        assert isinstance(RULES[name].judge(books), NotJudged)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fused_and_hf_train_on_the_same_rows_and_agree(precision):
    """The fused loop draws Trainer's order, so their curves are compared directly."""
    fused, hf = (run_cell(name, max_steps=4, precision=precision) for name in ("fused", "hf"))
    beside = reference_run(books_of(hf))
    books = replace(books_of(fused), reference=beside)
    assert beside.rows == tuple(tuple(m.rows for m in u.window) for u in books.observed.done)
    assert not broken(books)
