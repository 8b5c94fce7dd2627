"""Two runs beside each other: counts exactly, curves within the noise, missing cells strictly."""

from __future__ import annotations

import math

import pytest
from hand_written import broken, failed, judged, record, refused
from stepaudit.harness.judging.comparison import RunSide, compare_runs
from stepaudit.harness.judging.comparison_records import Change, Comparison
from stepaudit.harness.judging.curve_comparison import CurveSet, compared_curves
from stepaudit.harness.ledger import Claims, Curves


def side(verdict, subject=None, curves=None):
    return RunSide(source="here", verdict=verdict, curves=curves or {}, subject=subject)


def compared(ours, theirs, **subjects):
    return compare_runs(
        side(judged(*ours), subjects.get("a"), subjects.get("left")),
        side(judged(*theirs), subjects.get("b"), subjects.get("right")),
    )


def changes(comparison):
    return [cell.change for cell in comparison.cells]


FINE, WRONG, LOST, DECLINED = record(4), broken(), failed(), refused()


@pytest.mark.parametrize(
    ("ours", "theirs", "change", "code"),
    [
        ([FINE], [FINE], Change.UNCHANGED, 0),
        ([WRONG], [WRONG], Change.UNCHANGED, 0),
        ([FINE], [WRONG], Change.NEW, 1),
        ([WRONG], [FINE], Change.FIXED, 0),
        ([WRONG], [record(9)], Change.DRIFTED, 1),
        ([FINE], [LOST], Change.NOT_JUDGED, 4),
        ([LOST], [FINE], Change.NOT_JUDGED, 4),
        ([FINE], [DECLINED], Change.ONLY_A, 4),
        ([DECLINED], [FINE], Change.ONLY_B, 4),
        ([DECLINED], [DECLINED], Change.UNCHANGED, 4),
        ([FINE], [], Change.ONLY_A, 4),
        ([], [FINE], Change.ONLY_B, 4),
    ],
)
def test_what_becomes_of_a_cell(ours, theirs, change, code):
    """And what that is worth alone; the two sides are not alike. What was judged in one run only compares nothing."""
    comparison = compared(ours, theirs)
    assert (changes(comparison), comparison.exit_code) == ([change], code)
    assert comparison.sentence
    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison


@pytest.mark.parametrize(
    ("ours", "theirs", "code"),
    [([record(3, max_steps=3)], [], 1), ([], [record(3, max_steps=3)], 1), ([LOST], [FINE], 3)],
)
def test_beside_a_cell_that_can_be_compared(ours, theirs, code):
    """A missing cell fails on either side; one without books is not judged."""
    both = record(5, max_steps=5)
    assert compared([both, *ours], [both, *theirs]).exit_code == code


def test_nothing_to_compare_names_the_subjects():
    """Another subject is not the same cell, whatever it is called."""
    comparison = compared([record(4, subject="loop@1")], [record(4, subject="loop@2")])
    assert comparison.exit_code == 4
    assert "subjects of A: loop@1; of B: loop@2" in comparison.sentence
    assert set(changes(comparison)) == {Change.ONLY_A, Change.ONLY_B}


def test_two_subjects_are_paired_by_their_scenario():
    """Across runs or within one."""
    run = [record(4, subject="loop@1"), broken(subject="loop@2"), record(4, subject="other")]
    comparison = compared(run, run, a="loop@1", b="loop@2")
    (cell,) = comparison.cells
    assert (cell.change, cell.subject_a, cell.subject_b) == (Change.NEW, "loop@1", "loop@2")


def test_differences_say_what_was_and_what_is():
    """By rule, with both values; figures beside them."""
    (cell,) = compared([FINE], [WRONG]).cells
    told = {item.what: (item.a, item.b) for item in cell.differences}
    assert told["rule target"] == ("holds", "8 optimizer steps, expected 4 optimizer steps")
    assert told["observed optimizer_steps"] == ("4", "8")


def test_a_claim_that_changes_without_breaking_a_rule_has_drifted():
    """Counts and claims are compared with ==, none is no number."""
    ours = record(4, claims=Claims(global_step=4))
    (cell,) = compared([ours], [record(4)]).cells
    assert cell.change is Change.DRIFTED
    told = {item.what: (item.a, item.b) for item in cell.differences}
    assert told["claimed optimizer_steps"] == ("4", "none")
    assert told["rule claim"][1].startswith("not judged: ")


def test_a_rule_that_is_no_longer_asked_is_no_fix():
    """A broken rule that cannot be judged any more has lost its witness."""
    ours = record(4, claims=Claims(global_step=5))
    (cell,) = compared([ours], [record(4)]).cells
    assert cell.change is Change.DRIFTED


def test_a_new_fault_outranks_a_fix():
    """One rule mended, another broken: new."""
    ours = record(4, claims=Claims(global_step=5))
    theirs = record(8, claims=Claims(global_step=8))
    assert changes(compared([ours], [theirs])) == [Change.NEW]


def test_the_environment_comes_first():
    """What differs and what only one of them has."""
    ours = judged(FINE)
    packages = {**ours.environment.packages, "torch": "9", "new": "1"}
    theirs = ours.model_copy(
        update={"environment": ours.environment.model_copy(update={"packages": packages})}
    )
    found = {item.name: (item.a, item.b) for item in compare_runs(side(ours), side(theirs)).environment}
    assert found == {"torch": ("2.13.0", "9"), "new": (None, "1")}


def curves(*losses, rows=(((0,),), ((1,),)), envelope=1e-6, rates=(0.1, 0.05)):
    count = len(losses)
    return CurveSet(
        rows=rows,
        observed=Curves(losses=losses, grad_norms=(1.0,) * count, learning_rates=rates[:count]),
        envelope=Curves(
            losses=(envelope,) * count, grad_norms=(envelope,) * count, learning_rates=(0.0,) * count
        ),
        learning_rate=0.1,
    )


@pytest.mark.parametrize(
    ("theirs", "mark"),
    [
        (curves(1.0, 2.0), "="),
        (curves(1.0, 2.0 + 1.5e-5), "~"),
        (curves(1.0, 2.0 + 1.7e-5), "≠"),
        (curves(1.0, 2.0 + 1.7e-5, envelope=2e-6), "~"),
        (curves(1.0, math.nan), "≠"),
        (curves(1.0, math.inf), "≠"),
        (curves(1.0, None), "≠"),
        (curves(1.0), "≠"),
        (curves(1.0, 2.1, rows=(((1,),), ((0,),))), "other rows or another order: not compared"),
    ],
)
def test_losses(theirs, mark):
    """`~` inside twice the multiple of the wider envelope, never for NaN, a missing value or another set of updates."""
    found = compared_curves(curves(1.0, 2.0), theirs)
    assert found.marks["loss"] == mark
    assert bool([item for item in found.differences if item.what.startswith("loss")]) == (mark == "≠")


def test_nan_is_not_even_itself():
    """Two runs that diverge alike have not been shown to be alike."""
    assert compared_curves(curves(1.0, math.nan), curves(1.0, math.nan)).marks["loss"] == "≠"


def test_rates_are_compared_whatever_the_order():
    """A schedule does not depend on rows."""
    found = compared_curves(curves(1.0, 2.0), curves(1.0, 2.0, rows=((), ()), rates=(0.1, 0.06)))
    assert found.marks["learning rate"] == "≠"


@pytest.mark.parametrize(("ours", "theirs", "change"), [
    (curves(1.0, 2.0), curves(1.0, 2.0 + 1e-6), Change.UNCHANGED),
    (curves(1.0, 2.0), curves(1.0, 2.1), Change.DRIFTED),
    (curves(1.0, 2.0), None, Change.DRIFTED),
])  # fmt: skip
def test_a_cell_whose_counts_agree_can_differ_by_its_curves(ours, theirs, change):
    """A curve that is gone is a difference too."""
    (cell,) = compared(
        [FINE], [FINE], left={FINE.cell_id: ours}, right={FINE.cell_id: theirs} if theirs else {}
    ).cells
    assert cell.change is change
