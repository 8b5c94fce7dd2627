"""Interactions: exact where the truth is a conjunction, no larger than it, and with true counts."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulated import CONTRACT, drawn
from stepaudit.harness.diagnosis import interaction_of, quantities_of
from stepaudit.harness.diagnosis.conditions import separating_conditions
from stepaudit.scenarios import Scenario

SCENARIOS = drawn(600, seed=11)
QUANTITIES = quantities_of(SCENARIOS, CONTRACT)
CONDITIONS, MASKS = separating_conditions(QUANTITIES)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(chosen=st.lists(st.integers(0, len(CONDITIONS) - 1), min_size=1, max_size=3, unique=True))
def test_a_planted_conjunction_is_found_exactly_and_with_no_more_conditions(chosen):
    """The result separates the cells, and needs at most as many conditions as were planted."""
    failing = MASKS[chosen].all(axis=0)
    if not failing.any() or failing.all():
        return
    found = interaction_of(QUANTITIES, failing)
    assert found.exact
    (clause,) = found.clauses
    assert len(clause.conditions) <= len(chosen)
    assert clause.failing == clause.inside == failing.sum()
    assert (found.failing_elsewhere, found.elsewhere) == (0, len(failing) - failing.sum())


def test_no_smaller_set_of_conditions_separates():
    """Brute force over single conditions and pairs agrees that the planted three are needed."""
    rng = np.random.default_rng(3)
    tried = 0
    while tried < 10:
        failing = MASKS[rng.choice(len(CONDITIONS), 3, replace=False)].all(axis=0)
        if not 5 < failing.sum() < len(failing) - 5:
            continue
        tried += 1
        found = interaction_of(QUANTITIES, failing)
        size = len(found.clauses[0].conditions)
        singles = (failing == MASKS).all(axis=1).any()
        pairs = any(((MASKS[k] & MASKS) == failing).all(axis=1).any() for k in range(len(MASKS)))
        assert size == (1 if singles else 2 if pairs else 3)


def test_the_words_are_those_of_the_issue():
    """`grad_accum > 1 and rows % (B·A) ≠ 0` with its counts."""
    q = QUANTITIES.columns
    failing = (q["A"] > 1) & (q["rows"] % (q["B"] * q["A"]) != 0)
    found = interaction_of(QUANTITIES, failing)
    assert set(found.clauses[0].conditions) <= {"grad_accum > 1", "rows % (B·A) ≠ 0"}
    count = failing.sum()
    assert str(found) == f"{found.clauses[0].text}: {count}/{count} fail; elsewhere 0/{len(failing) - count}"


def test_two_faults_of_one_rule_are_two_clauses():
    """A disjunction of conjunctions, each without a passing cell."""
    q = QUANTITIES.columns
    one = (QUANTITIES.fields["drop_last"] == "true") & (q["rows"] % q["B"] > 0)
    failing = one | (q["max_steps"] > 0) & (q["T"] > q["U"]) & (q["A"] > 1)
    found = interaction_of(QUANTITIES, failing)
    assert found.exact
    assert 2 <= len(found.clauses) <= 3
    assert all(clause.failing == clause.inside for clause in found.clauses)


def test_what_nothing_separates_is_reported_with_its_counts():
    """Noise: the counts of the best conditions, inside and elsewhere, and no claim of exactness."""
    failing = np.random.default_rng(5).random(len(SCENARIOS)) < 0.3
    found = interaction_of(QUANTITIES, failing)
    assert not found.exact
    inside = sum(clause.inside for clause in found.clauses)
    assert inside + found.elsewhere >= len(failing)


@pytest.mark.parametrize(("times", "rivals"), [(1, ("eval_steps > 0", "max_grad_norm <= 0.1")), (3, ())])
def test_fields_that_a_single_cell_does_not_tell_apart_are_all_named(times, rivals):
    """Of three fields that differ together none is the cause yet; that three cells agree is no chance."""
    odd = Scenario(rows=9, drop_last=True, max_grad_norm=0.1, eval_steps=2)
    scenarios = [
        *[Scenario(rows=9, seed=seed) for seed in range(7)],
        *[odd.with_(seed=9 + k) for k in range(times)],
    ]
    found = interaction_of(quantities_of(scenarios, CONTRACT), np.array([False] * 7 + [True] * times))
    assert found.clauses[0].conditions == ("drop_last",)
    assert found.rivals == rivals
    assert str(found).endswith("too few cells to tell it from eval_steps > 0, max_grad_norm <= 0.1") == bool(
        rivals
    )


def test_all_and_nothing():
    """If every cell fails, no condition is needed; if none does, there is nothing to find."""
    every = np.ones(len(SCENARIOS), dtype=np.bool_)
    assert str(interaction_of(QUANTITIES, every)).startswith("every scenario: 600/600 fail")
    assert interaction_of(QUANTITIES, ~every) is None


@pytest.mark.parametrize("planted", [3, 0])
def test_ten_thousand_cells_are_quick(planted):
    """Far below the five seconds of the benchmark, also where nothing separates."""
    quantities = quantities_of([SCENARIOS[k % 600].with_(seed=k // 600) for k in range(10_000)], CONTRACT)
    conditions, masks = separating_conditions(quantities)
    rng = np.random.default_rng(planted)
    failing = masks[:: max(1, len(conditions) // 3)][:3].all(axis=0) if planted else rng.random(10_000) < 0.2
    began = time.process_time()
    interaction_of(quantities, failing)
    assert time.process_time() - began < 5.0
