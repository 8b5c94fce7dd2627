"""What is proposed as known for a cluster: exactly its cells, its wrong values by a formula or each by itself."""

from __future__ import annotations

import pytest
from hand_written import broken, failed, judged, record
from stepaudit.harness.contract import CONTRACTS
from stepaudit.harness.judging.acceptance import (
    Proposal,
    Wrong,
    proposals_for,
    version_ranges,
    wrong_values,
)
from stepaudit.harness.ledger import Claims, Outcome

TOKEN_MEAN = CONTRACTS["token-mean"]


def proposed(*records, rule="target", wrong=None):
    """What is proposed for the first cluster of a rule; `wrong` takes the place of what the records say."""
    verdict = judged(*records)
    cluster = next(item for item in verdict.clusters if item.rule == rule)
    found = {
        item.cell_id: wrong_values(item, TOKEN_MEAN, rule)
        for item in records
        if item.outcome is Outcome.COMPLETED
    }
    return proposals_for(cluster, verdict.cells, found if wrong is None else wrong)


def makes(updates, **asked):
    """A loop of a wrong number of updates for every number that it was asked for."""
    return [record(updates(limit), max_steps=limit, **asked) for limit in (3, 5, 9, 10)]


@pytest.mark.parametrize(
    ("updates", "formula"),
    [
        (lambda T: T + 1, "expected + 1"),
        (lambda T: 2 * T, "expected * 2"),
        (lambda T: T + 2, "expected + 2"),
        (lambda T: 4 * T, "expected * rows"),
        (lambda T: 4 * T - 1, "expected * rows - 1"),
        (lambda T: -(-T // 4), "E"),
        (lambda T: T * T * T, None),
    ],
)
def test_one_formula_for_all_cells_where_a_small_one_gives_every_value(updates, formula):
    """The plainest that does, in the contract's symbols; what none gives is pinned value by value."""
    proposals = proposed(*makes(updates))
    if formula is None:
        assert [(item.got_formula, item.cells) for item in proposals] == [(None, 1)] * 4
    else:
        assert proposals == [Proposal(where="", got=None, got_formula=formula, cells=4)]


def test_what_was_asked_for_by_epochs_has_a_formula_too():
    """Numbers that a scenario does not have, such as max_steps here, are in no formula."""
    cells = [record(8 * n, max_steps=None, epochs=float(n)) for n in (1, 2, 3, 4)]
    assert [item.got_formula for item in proposed(*cells)] == ["expected * 2"]


def test_a_formula_is_held_against_four_findings_at_least():
    """Three values can be fitted by chance: each is pinned by itself, in the scenarios that show it."""
    three = makes(lambda T: T + 1)[:3]
    assert proposed(*three) == [
        Proposal(where=f"max_steps:{limit}", got=f"{limit + 1} optimizer steps", got_formula=None, cells=1)
        for limit in (3, 5, 9)
    ]


def test_two_wrong_values_of_four_findings_have_one():
    """What counts is the findings, not how many values they have."""
    cells = [record(limit + 1, max_steps=limit, rows=rows) for limit in (3, 5) for rows in (4, 6)]
    assert [item.got_formula for item in proposed(*cells)] == ["expected + 1"]


def test_one_wrong_value_needs_no_formula():
    """However many cells show it."""
    cells = [record(7, max_steps=4, grad_accum=accum) for accum in (1, 2, 3, 4)]
    assert proposed(*cells) == [Proposal(where="", got="7 optimizer steps", got_formula=None, cells=4)]


@pytest.mark.parametrize("values", [(None, None, None, None), (4, 6, 10, None)])
def test_a_finding_that_is_no_number_is_pinned_as_text(values):
    """No formula gives it."""
    records = makes(lambda T: T + 1)
    wrong = {
        item.cell_id: [Wrong(numbers={"expected": item.scenario.max_steps}, value=value)]
        for item, value in zip(records, values, strict=True)
    }
    assert [item.got_formula for item in proposed(*records, wrong=wrong)] == [None] * 4


def test_cells_without_a_record_are_covered_and_pinned():
    """Where no numbers are left, the texts are."""
    assert [item.got for item in proposed(*makes(lambda T: T + 1), wrong={})] == [
        f"{limit + 1} optimizer steps" for limit in (3, 5, 9, 10)
    ]


def test_cells_that_keep_the_rule_are_left_out():
    """The selection names what tells them apart, and nothing else."""
    fine = [record(limit, max_steps=limit, grad_accum=2) for limit in (4, 5)]
    wrong = [record(9, max_steps=limit) for limit in (4, 5)]
    assert [item.where for item in proposed(*wrong, *fine)] == ["grad_accum:1"]


def test_another_subject_and_a_cell_that_was_not_judged_need_no_selection():
    """Neither can be mistaken for a cell of the cluster."""
    assert [item.where for item in proposed(broken(), record(4, subject="other"))] == [""]
    assert [item.where for item in proposed(broken(), failed(max_steps=9))] == [""]


def test_other_rules_of_the_same_cells_are_not_accepted_with_it():
    """Only what the cluster's rule says is pinned."""
    claims = Claims(planned_steps={"state": 9, "bar": 8})
    cell = record(8, claims=claims)
    assert {item.got for item in proposed(cell)} == {"8 optimizer steps"}
    plans = proposed(cell, rule="plan")
    assert len(plans) == 2
    assert not {item.got for item in plans} & {"8 optimizer steps"}
    assert [(item.where, item.cells) for item in plans] == [("", 1), ("", 1)]


def test_wrong_values_are_numbers_beside_what_a_formula_may_name():
    """With the value that was due as `expected`."""
    (found,) = wrong_values(broken(), TOKEN_MEAN, "target")
    assert found.value == 8
    assert (found.numbers["expected"], found.numbers["max_steps"], found.numbers["M"]) == (4, 4, 4)
    assert wrong_values(record(4), TOKEN_MEAN, "target") == []


def test_a_rule_that_cannot_judge_has_no_wrong_values():
    """A loop that claims nothing."""
    assert wrong_values(record(4), TOKEN_MEAN, "claim") == []


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.13.0", ["p>=2.13.0,<3"]),
        ("1.0", ["p>=1.0,<2"]),
        ("0.21.3", ["p>=0.21.3,<0.22"]),
        ("2.13.0+cu128", ["p>=2.13.0,<3"]),
        ("5.0.0.dev1", ["p>=5.0.0.dev1,<6"]),
        ("somewhere", []),
    ],
)
def test_an_entry_holds_up_to_the_next_version_that_may_break_things(version, expected):
    """The next major one, before 1.0 the next minor one; what is no version is left out."""
    assert version_ranges({"p": version}) == expected


def test_packages_are_in_order_and_one_without_a_version_does_not_hide_the_next():
    """By name."""
    assert version_ranges({"c": "3.1", "b": "local", "a": "1.2"}) == ["a>=1.2,<2", "c>=3.1,<4"]
