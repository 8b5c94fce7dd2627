"""Does the inference still say what the real releases of the founding case do?"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from stepaudit.harness.cli.warm_cells import WarmCells
from stepaudit.harness.contract import contract_named, terms_of
from stepaudit.harness.diagnosis import FIGURES, FormulaOf, Space, hypothesis_held, quantities_of, sample_of
from stepaudit.harness.running.environment import default_cache, is_ready
from stepaudit.harness.running.plan import SweepOptions
from stepaudit.harness.running.store import Store
from stepaudit.harness.subjects import resolve
from stepaudit.scenarios import Scenario

FOUNDING = Scenario(rows=5590, per_device_batch_size=4, grad_accum=4, max_steps=350)


def steps_2024(scenario, terms):
    floored = max(terms.M // terms.A, 1)
    target = scenario.max_steps or math.ceil(scenario.epochs * floored)
    epochs = math.ceil(target / floored) if scenario.max_steps else math.ceil(scenario.epochs)
    return target + (epochs - math.ceil(target / terms.U)) * terms.U


def steps_2026(scenario, terms):
    if not scenario.max_steps:
        return terms.T
    return terms.T + (math.ceil(terms.B * terms.A * terms.T / terms.rows) - terms.E) * terms.U


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("release", "truth"), [("2024.10.0", steps_2024), ("2026.10.5", steps_2026)])
def test_the_formula_of_a_real_release_predicts_cells_it_has_not_seen(release, truth, tmp_path):
    """Right on 200 fresh cells, the same function as the loop's source, and the published one is false."""
    subject = resolve(f"unsloth-zoo@{release}")
    if not is_ready(subject.environment, default_cache()):
        pytest.skip(
            f"the wheels of {subject.name} are not here: `stepaudit run --suite founding` fetches them"
        )
    contract = contract_named(subject.contract)
    options = replace(SweepOptions(), workers=2, fresh_fraction=0.0)
    with Store(tmp_path / "records.sqlite") as store, WarmCells(subject, store, options) as warm:
        space = Space(templates=(Scenario(),), supports=warm.supports, contract=contract)
        formula = FormulaOf(contract, space, warm.run)
        found = formula.settle(FIGURES["optimizer_steps"])
    assert found.candidate.exact
    assert found.held_out.right == found.held_out.of >= 200
    assert found.held_out.contract_right < found.held_out.of
    fresh = [FOUNDING, *(item for item in space.draw(2000, seed=99) if not item.drop_last)]
    due = [truth(item, terms_of(item, contract)) for item in fresh]
    assert due[0] == 700
    assert found.candidate.expression.value(quantities_of(fresh, contract)).tolist() == due
    sample = sample_of(FIGURES["optimizer_steps"], formula.everything)
    for held in hypothesis_held("max_steps * epochs", sample):
        assert not held.is_true
        assert held.right_where_deviating < held.deviating
