"""Two runs beside each other: counts exactly, missing cells strictly."""

from __future__ import annotations

import pytest
from hand_written import broken, failed, judged, record, refused
from stepaudit.harness.judging.comparison import RunSide, compare_runs
from stepaudit.harness.judging.comparison_records import Change, Comparison
from stepaudit.harness.ledger import Claims


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


@pytest.mark.parametrize(
    ("ours", "theirs", "difference"),
    [
        (FINE, LOST, ("outcome", "conforms", "error: signal 9")),
        (LOST, WRONG, ("outcome", "error: signal 9", "deviates")),
        (FINE, DECLINED, ("supported", "conforms", "unsupported: no reason")),
        (DECLINED, LOST, ("supported", "unsupported: no reason", "error")),
    ],
)
def test_a_cell_that_cannot_be_compared_says_why(ours, theirs, difference):
    """With what it was on either side."""
    (cell,) = compared([ours], [theirs]).cells
    assert [(item.what, item.a, item.b) for item in cell.differences] == [difference]
    assert not cell.compared


def test_a_flaky_cell_is_not_compared():
    """Its books are not those of its next run."""
    loose = judged(FINE, flaky=frozenset({FINE.cell_id}))
    for left, right in ((loose, judged(FINE)), (judged(FINE), loose)):
        (cell,) = compare_runs(side(left), side(right)).cells
        assert (cell.change, cell.compared) == (Change.NOT_JUDGED, False)


def test_a_rule_that_is_not_asked_any_more_is_drift_by_itself():
    """Though every figure is the same; one that is asked anew and holds is no difference."""
    both, fewer = judged(FINE), judged(FINE, rules=frozenset({"target"}))
    (cell,) = compare_runs(side(both), side(fewer)).cells
    assert cell.change is Change.DRIFTED
    assert {(item.a, item.b) for item in cell.differences} == {("holds", "not judged: not asked")}
    (cell,) = compare_runs(side(fewer), side(both)).cells
    assert (cell.change, cell.differences) == (Change.UNCHANGED, [])


def test_a_rule_that_is_asked_anew_and_broken_is_new():
    """It was not judged before."""
    wrong = record(4, claims=Claims(global_step=5))
    before, after = judged(wrong, rules=frozenset({"target"})), judged(wrong)
    (cell,) = compare_runs(side(before), side(after)).cells
    assert cell.change is Change.NEW
    told = {item.what: item.a for item in cell.differences}
    assert told["rule claim"] == "not judged"


def test_cells_are_paired_whatever_the_order_of_their_fields():
    """A verdict that another release wrote has the same scenarios."""
    ours = judged(FINE)
    cell = ours.cells[0]
    turned = cell.model_copy(update={"scenario": dict(reversed(cell.scenario.items()))})
    theirs = ours.model_copy(update={"cells": [turned]})
    assert changes(compare_runs(side(ours), side(theirs))) == [Change.UNCHANGED]


def test_the_most_urgent_change_comes_first():
    """Whatever the order of the cells, and the sentence counts all of them in that order."""
    rows = range(5, 13)
    fine = [record(4, rows=count, cell_id=f"fine {count}") for count in rows]
    wrong = [broken(rows=count, cell_id=f"wrong {count}") for count in rows]
    ours = [fine[0], wrong[1], fine[2], fine[3], wrong[4], fine[5], fine[6]]
    theirs = [fine[0], fine[1], failed(rows=7), wrong[3], record(9, rows=9), fine[6], fine[7]]
    comparison = compared(ours, theirs)
    assert changes(comparison) == [
        Change.NEW,
        Change.DRIFTED,
        Change.ONLY_A,
        Change.ONLY_B,
        Change.NOT_JUDGED,
        Change.FIXED,
        Change.UNCHANGED,
        Change.UNCHANGED,
    ]
    assert comparison.sentence == (
        "5 cells compared: 1 new, 1 drifted, 1 only in A, 1 only in B, 1 not judged, 1 fixed, 2 unchanged."
    )
    assert comparison.counts.compared == 5


def test_the_sentence_leaves_out_what_did_not_happen():
    """One cell is one cell."""
    assert compared([FINE], [FINE]).sentence == "1 cell compared: 1 unchanged."
    nothing = compared([], [FINE, record(5, subject="other", max_steps=5)]).sentence
    assert nothing.endswith("(subjects of A: none; of B: loop, other).")


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
