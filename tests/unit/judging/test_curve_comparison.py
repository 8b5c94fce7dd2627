"""Curves of two runs beside each other: the same numbers, within the noise of both, or different, update by update."""

from __future__ import annotations

import math

import pytest
from hand_written import judged, record, replayed
from stepaudit.harness.contract import CONTRACTS
from stepaudit.harness.contract.rules.numeric import MULTIPLE, RATE
from stepaudit.harness.judging.comparison import RunSide, compare_runs
from stepaudit.harness.judging.comparison_records import Change
from stepaudit.harness.judging.curve_comparison import CurveSet, compared_curves, curve_set
from stepaudit.harness.ledger import Curves

ORDER = "other rows or another order: not compared"
TINY = 2.0**-20
"""an envelope whose multiples are exact beside 1.0"""


def curves(*losses, rows=(((0,),), ((1,),)), envelope=1e-6, rates=(0.1, 0.05), norms=None, base=0.1):
    """Curves with these losses; `envelope` is one width for all updates, or one each."""
    count = len(losses)
    widths = envelope if isinstance(envelope, tuple) else (envelope,) * count
    return CurveSet(
        rows=rows,
        observed=Curves(losses=losses, grad_norms=norms or (1.0,) * count, learning_rates=rates[:count]),
        envelope=Curves(losses=widths, grad_norms=widths, learning_rates=(0.0,) * count),
        learning_rate=base,
    )


def mark(ours, theirs, name="loss"):
    """What is said of one curve, which must not depend on the side."""
    found, back = compared_curves(ours, theirs), compared_curves(theirs, ours)
    assert found.marks == back.marks
    return found.marks[name]


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (curves(1.0, 2.0), "="),
        (curves(1.0, 2.0 + 1.5e-5), "~"),
        (curves(1.0, 2.0 + 1.7e-5), "≠"),
        (curves(1.0, 2.0 + 1.7e-5, envelope=2e-6), "~"),
        (curves(1.0, math.nan), "≠"),
        (curves(1.0, math.inf), "≠"),
        (curves(1.0, None), "≠"),
        (curves(1.0), "≠"),
        (curves(1.0, 2.1, rows=(((1,),), ((0,),))), ORDER),
    ],
)
def test_losses(theirs, expected):
    """`~` inside twice the multiple of the wider envelope, never for NaN, a missing value or another set of updates."""
    assert mark(curves(1.0, 2.0), theirs) == expected
    found = compared_curves(curves(1.0, 2.0), theirs)
    assert bool([item for item in found.differences if item.what.startswith("loss")]) == (expected == "≠")


@pytest.mark.parametrize(("envelopes", "expected"), [(2, "~"), (-2, "~"), (2.25, "≠"), (-2.25, "≠")])
@pytest.mark.parametrize("name", ["loss", "gradient norm"])
def test_the_noise_is_two_multiples_of_the_envelope_and_not_a_bit_more(name, envelopes, expected):
    """Exactly that far apart is within it, on either side."""
    far = 1.0 + envelopes * MULTIPLE * TINY
    theirs = (
        curves(far, 1.0, envelope=TINY)
        if name == "loss"
        else curves(1.0, 1.0, norms=(far, 1.0), envelope=TINY)
    )
    assert mark(curves(1.0, 1.0, envelope=TINY), theirs, name) == expected


@pytest.mark.parametrize(
    ("ours", "theirs", "apart", "expected"),
    [
        ((TINY, TINY), (TINY,), 16, "~"),
        ((TINY,), (TINY,), 16, "≠"),
        ((), (), 1, "≠"),
        ((), (), 0, "="),
        ((TINY, None), (TINY, TINY), 16, "~"),
        ((TINY, None), (TINY, None), 1, "≠"),
        ((TINY, math.inf), (TINY, TINY), 16, "~"),
        ((TINY, math.inf), (TINY, TINY), 17, "≠"),
        ((TINY, math.nan), (TINY, TINY), 16, "~"),
        ((TINY, math.nan), (TINY, math.nan), 1, "≠"),
        ((TINY, 2 * TINY), (TINY, TINY), 32, "~"),
        ((TINY, 2 * TINY), (TINY, TINY), 33, "≠"),
        ((TINY, TINY, TINY), (TINY,), 16, "~"),
    ],
)
def test_where_a_replay_has_no_envelope_the_other_counts(ours, theirs, apart, expected):
    """Where neither has one only equal values are equal: a replay that stopped or overflowed excuses nothing."""
    left = curves(1.0, 1.0, envelope=ours)
    right = curves(1.0, 1.0 + apart * TINY, envelope=theirs)
    assert mark(left, right) == expected


def test_nan_is_not_even_itself():
    """Two runs that diverge alike have not been shown to be alike."""
    assert mark(curves(1.0, math.nan), curves(1.0, math.nan)) == "≠"


def test_two_runs_without_a_value_agree_on_that_update_and_on_no_other():
    """What comes after it is compared."""
    assert mark(curves(None, 1.0), curves(None, 1.0)) == "="
    assert mark(curves(None, 1.0), curves(None, 2.0)) == "≠"


def test_the_first_update_that_parts_is_told_with_both_values():
    """Counted from 1, with the digits that tell them apart."""
    found = compared_curves(curves(1.0, 2.0), curves(1.0, 2.125, norms=(None, 3.0)))
    assert found.marks == {"learning rate": "=", "loss": "≠", "gradient norm": "≠"}
    assert [(item.what, item.a, item.b) for item in found.differences] == [
        ("loss of update 2", "2", "2.125"),
        ("gradient norm of update 1", "1", "none"),
    ]


def test_runs_of_other_lengths_are_told_with_their_lengths():
    """Every curve, and no value of any."""
    found = compared_curves(curves(1.0, 2.0), curves(1.0))
    assert found.marks == {"learning rate": "≠", "loss": "≠", "gradient norm": "≠"}
    assert {(item.a, item.b) for item in found.differences} == {("2 updates", "1 updates")}
    assert len(found.differences) == 3


def test_rates_are_compared_whatever_the_order():
    """A schedule does not depend on rows."""
    found = compared_curves(curves(1.0, 2.0), curves(1.0, 2.0, rows=((), ()), rates=(0.1, 0.06)))
    assert found.marks == {"learning rate": "≠", "loss": ORDER, "gradient norm": ORDER}


@pytest.mark.parametrize(
    ("apart", "base", "expected"),
    [(0.0, 0.5, "="), (0.5, 0.5, "~"), (1.5, 0.5, "≠"), (1.5, 1.0, "~"), (3.0, 1.0, "≠")],
)
def test_rates_agree_to_the_rounding_of_the_larger_base_rate(apart, base, expected):
    """They are float64 arithmetic in every precision; the envelope has no part in it."""
    theirs = curves(1.0, 2.0, rates=(0.1, 0.05 + apart * RATE / 2), base=base)
    assert mark(curves(1.0, 2.0, base=0.5), theirs, "learning rate") == expected


def test_curves_that_only_one_run_has_differ():
    """Those that neither has do not."""
    found = compared_curves(None, curves(1.0))
    assert found.marks == {"curves": "≠"}
    assert [(item.what, item.a, item.b) for item in found.differences] == [("curves", "none", "there")]
    neither = compared_curves(None, None)
    assert (neither.marks, neither.differences) == ({}, [])


FINE = record(4)


@pytest.mark.parametrize(("ours", "theirs", "change"), [
    (curves(1.0, 2.0), curves(1.0, 2.0 + 1e-6), Change.UNCHANGED),
    (curves(1.0, 2.0), curves(1.0, 2.1), Change.DRIFTED),
    (curves(1.0, 2.0), None, Change.DRIFTED),
])  # fmt: skip
def test_a_cell_whose_counts_agree_can_differ_by_its_curves(ours, theirs, change):
    """A curve that is gone is a difference too."""
    left, right = (
        RunSide(source="here", verdict=judged(FINE), curves={FINE.cell_id: item} if item else {})
        for item in (ours, theirs)
    )
    (cell,) = compare_runs(left, right).cells
    assert cell.change is change
    assert cell.curves == compared_curves(ours, theirs).marks


def test_the_curves_of_a_record_are_those_of_its_updates():
    """With the envelope of its replay; a record without a replay has none."""
    contract = CONTRACTS["token-mean"]
    assert curve_set(FINE, contract) is None
    found = curve_set(replayed(FINE, width=TINY), contract)
    assert found.rows == (((0,),), ((1,),), ((2,),), ((3,),))
    assert found.envelope.losses == (TINY,) * 4
    assert found.observed.losses == (-1.0,) * 4
    assert found.observed.grad_norms == (1.0,) * 4
    assert found.observed.learning_rates == (FINE.scenario.learning_rate,) * 4
    assert found.learning_rate == FINE.scenario.learning_rate
