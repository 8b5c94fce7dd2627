"""Formula inference: the inferred expression is the seeded one, on scenarios that it has never seen."""

from __future__ import annotations

import numpy as np
import pytest
from simulated import CONTRACT, FAULTS, drawn, records_of, space
from stepaudit.harness.contract import terms_of
from stepaudit.harness.diagnosis import FIGURES, Rounds, cell_of, quantities_of, settle

STEPS = FIGURES["optimizer_steps"]


def settled_of(steps, *, cells=60, run=True, fault=""):
    records = records_of(steps)
    given = [cell_of(record, CONTRACT) for record in records(drawn(cells, seed=3, fault=fault))]
    return settle(
        STEPS,
        given,
        contract=CONTRACT,
        space=space(fault),
        run=records if run else None,
        rounds=Rounds(probes=2000, held_out=200),
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_the_inferred_formula_is_the_seeded_one(fault):
    """Exact on every cell, on 200 held-out ones, and the same function on 2,000 further scenarios."""
    steps = FAULTS[fault]
    found = settled_of(steps, fault=fault)
    assert found.candidate.exact
    assert found.held_out.right == found.held_out.of >= 200
    fresh = drawn(2000, seed=77, fault=fault)
    truth = [steps(item, terms_of(item, CONTRACT)) for item in fresh]
    assert found.candidate.expression.value(quantities_of(fresh, CONTRACT)).tolist() == truth


@pytest.mark.parametrize(
    ("fault", "polynomial"),
    [("one more", "T + 1"), ("every window counted once a micro-batch", "A*T"), ("whole epochs only", "E*U")],
)
def test_a_polynomial_is_algebraically_the_seeded_one(fault, polynomial):
    """The text of the formula, read as algebra, differs from the seeded polynomial by 0."""
    sympy = pytest.importorskip("sympy")
    names = {name: sympy.Symbol(name) for name in ("T", "A", "E", "U", "M")}
    found = settled_of(FAULTS[fault]).candidate.text.replace("·", "*")
    assert sympy.expand(sympy.sympify(found, locals=names) - sympy.sympify(polynomial, locals=names)) == 0


def test_the_contract_s_formula_is_found_for_a_correct_trainer():
    """T is the simplest formula of a trainer that does what it was asked for."""
    found = settled_of(lambda _, terms: terms.T)
    assert found.candidate.text == "T"
    assert found.sample.deviating == 0


def test_candidates_that_differ_elsewhere_are_told_apart_by_running_cells():
    """From cells without accumulation `T` and `T·A` are one; what was run decides, and is reported."""
    steps = FAULTS["every window counted once a micro-batch"]
    records = records_of(steps)
    alike = [item for item in drawn(400, seed=5) if item.grad_accum == 1]
    given = [cell_of(record, CONTRACT) for record in records(alike)]
    assert len(given) > 10
    found = settle(
        STEPS, given, contract=CONTRACT, space=space(), run=records, rounds=Rounds(probes=2000, held_out=50)
    )
    assert found.candidate.text in {"T·A", "A·T"}
    assert not found.rivals


def test_without_running_anything_rivals_are_kept():
    """Cells that cannot decide leave several formulas, and the report says so."""
    steps = FAULTS["every window counted once a micro-batch"]
    alike = [item for item in drawn(400, seed=5) if item.grad_accum == 1]
    given = [cell_of(record, CONTRACT) for record in records_of(steps)(alike)]
    found = settle(STEPS, given, contract=CONTRACT, space=space(), run=None, rounds=Rounds(probes=2000))
    assert found.held_out is None
    assert found.rivals


def test_what_no_formula_gives_is_said_to_hold_on_some_cells_only():
    """Noise has no formula: the best one is reported with the number of cells on which it holds."""
    noise = np.random.default_rng(0)

    def steps(scenario, terms):
        return int(noise.integers(1, 1000)) if scenario.rows % 3 == 0 else terms.T

    found = settled_of(steps, cells=120, run=False)
    assert not found.candidate.exact
    assert 0 < found.candidate.cells < found.candidate.of
