"""The contract `hf-4.45` against the real Trainer of transformers 4.45.2, in workers of an environment of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from agreement import assert_equal_accounts, assert_rules_hold, assert_weights
from cell_runs import broken_rules
from drawn_scenarios import scenarios
from hf_release import ReleasedTrainer
from hypothesis import HealthCheck, Phase, given, settings
from stepaudit.harness.contract import CONTRACTS, draw_up
from stepaudit.harness.ledger import Outcome
from stepaudit.harness.running.engine import run_sweep
from stepaudit.harness.running.environment import EnvironmentFailedError, default_cache, materialise
from stepaudit.harness.running.plan import PlannedCell, SweepOptions
from stepaudit.harness.running.store import RECORDS_NAME, Store
from stepaudit.scenarios import LengthProfile, Scenario

CELLS = 80
HERE = str(Path(__file__).parent)


def drawn_plan() -> list[Scenario]:
    """Scenarios of the drawn space that the subject supports, always the same, and the corners of FAULTS' grid."""
    subject = ReleasedTrainer()
    plan = [
        Scenario(rows=rows, per_device_batch_size=batch, grad_accum=accum, epochs=epochs, max_steps=limit)
        for rows, batch, accum in ((9, 2, 2), (13, 2, 4), (3, 1, 8), (10, 2, 2))
        for epochs, limit in ((3.0, None), (1.5, None), (1.0, 7))
    ]

    @settings(
        max_examples=3 * CELLS,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(scenario=scenarios(contract=subject.contract))
    def collect(scenario):
        if subject.supports(scenario) is None and scenario not in plan:
            plan.append(scenario)

    collect()
    return plan[:CELLS]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """The records of the plan, run by the real engine in warm workers over the overlaid environment."""
    subject = ReleasedTrainer()
    cache = Path(os.environ.get("STEPAUDIT_CACHE") or default_cache())
    try:
        materialise(subject.environment, cache)
    except EnvironmentFailedError as error:
        pytest.skip(str(error))
    plan = [PlannedCell(scenario=scenario, subject=subject) for scenario in drawn_plan()]
    options = SweepOptions(
        workers=1, timeout_s=60.0, fresh_fraction=0.0, execute="hf_release:execute", cache_dir=cache
    )
    with (
        pytest.MonkeyPatch.context() as patch,
        Store(tmp_path_factory.mktemp("release") / RECORDS_NAME) as store,
    ):
        patch.setenv("PYTHONPATH", os.pathsep.join([HERE, os.environ.get("PYTHONPATH", "")]))
        run_sweep(plan, store, options, lambda event: None)
        return list(store.records())


@pytest.mark.timeout(600)
def test_the_contract_is_what_the_release_does(records):
    """Every count, window, weight, rate, claim and cadence of 4.45.2 is the one that its contract predicts."""
    assert len(records) == CELLS
    for record in records:
        assert record.outcome is Outcome.COMPLETED, (record.scenario.label, record.error)
        books = draw_up(record, CONTRACTS[record.contract])
        assert_equal_accounts(books)
        assert_weights(books)
        # 4.45 counts padding among the tokens (transformers issue 35529), which shows where rows are ragged.
        assert_rules_hold(
            books, known={"tokens"} if record.scenario.lengths is LengthProfile.RAGGED else set()
        )


def test_the_release_counts_padding_among_its_tokens(records):
    """transformers issue 35529: the rule `tokens` finds it in every ragged scenario that pads."""
    found = [broken_rules(draw_up(record, CONTRACTS[record.contract])).get("tokens") for record in records]
    assert any(found)


def test_the_release_breaks_the_contract_of_today(records):
    """Judged by `hf-5`, the faults of the release show: U by floor, windows across epochs, mean of means."""
    broken = {rule for record in records for rule in broken_rules(draw_up(record, CONTRACTS["hf-5"]))}
    assert {"target", "window", "remainder", "weight", "schedule"} <= broken
