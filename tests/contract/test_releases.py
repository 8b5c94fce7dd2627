"""The contracts of older Trainers against those releases, in workers of environments of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from agreement import assert_equal_accounts, assert_rules_hold, assert_weights
from cell_runs import broken_rules
from drawn_scenarios import filled
from stepaudit.harness.contract import CONTRACTS, draw_up
from stepaudit.harness.ledger import CellRecord, Outcome
from stepaudit.harness.running.engine import run_sweep
from stepaudit.harness.running.environment import EnvironmentFailedError, default_cache, materialise
from stepaudit.harness.running.plan import PlannedCell, SweepOptions
from stepaudit.harness.running.resolution import completed
from stepaudit.harness.running.store import RECORDS_NAME, Store
from stepaudit.harness.subjects import Subject, resolve
from stepaudit.scenarios import FirstLabel, LengthProfile, LossProtocol, Scenario

CELLS = 60


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release, and where it is known to break its own contract: faults that its successors mended."""

    version: str
    contract: str
    asked: Callable[[Scenario], bool]
    """which of the drawn scenarios it is run on: those in which nothing but `known` is wrong"""
    known: frozenset[str]
    weighed: Callable[[Scenario], bool] = lambda scenario: True
    """where the weights are right too; elsewhere the rule `weight` is broken, and everything else holds"""


def micro_batches(scenario: Scenario) -> int:
    """M of the closed forms."""
    rows, batch = scenario.rows, scenario.per_device_batch_size
    return rows // batch if scenario.drop_last else -(-rows // batch)


RELEASES = (
    # 4.45 counts padding among the tokens (transformers issue 35529), which shows where rows are ragged.
    Release(version="4.45.2", contract="hf-4.45", asked=lambda scenario: True, known=frozenset({"tokens"})),
    # 4.46 counts the tokens of another window where an epoch ends within one (LLaMA-Factory issue 6639), and does not
    # divide by the accumulation where no tokens are counted (transformers issues 34263, 35121). At an epoch's end it
    # fetches rows % A micro-batches, and never the others (`remainder = num_examples % gradient_accumulation_steps`).
    Release(
        version="4.46.3",
        contract="hf-4.46",
        asked=lambda scenario: (
            scenario.loss_protocol in {LossProtocol.HONOURED, LossProtocol.OVERRIDDEN}
            and scenario.first_label is FirstLabel.MASKED
            and micro_batches(scenario) % scenario.grad_accum
            <= (scenario.rows % scenario.grad_accum or scenario.grad_accum)
        ),
        weighed=lambda scenario: micro_batches(scenario) % scenario.grad_accum == 0,
        known=frozenset({"tokens"}),
    ),
    # The divisor counts position 0, which the loss does not; a model that ignores it is not divided.
    Release(
        version="4.57.6",
        contract="hf-4.57",
        asked=lambda scenario: (
            (scenario.loss_protocol is LossProtocol.NONE or scenario.first_label is FirstLabel.MASKED)
            and (scenario.loss_protocol is not LossProtocol.IGNORED or scenario.grad_accum == 1)
        ),
        known=frozenset(),
    ),
)


def drawn_plan(release: Release, subject: Subject) -> list[Scenario]:
    """Scenarios of the drawn space that the subject supports, always the same, and the corners of FAULTS' grid."""
    corners = (
        Scenario(
            rows=rows,
            per_device_batch_size=batch,
            grad_accum=accum,
            epochs=epochs,
            max_steps=limit,
            first_label=first,
        )
        for rows, batch, accum in ((16, 2, 2), (9, 2, 2), (13, 2, 4), (3, 1, 8), (10, 2, 2))
        for epochs, limit in ((3.0, None), (1.5, None), (1.0, 7))
        for first in FirstLabel
    )

    def taken(scenario):
        # an accelerate 1.0 loader of length 0 yields one batch, None
        empty = scenario.drop_last and scenario.rows < scenario.per_device_batch_size
        fits = not empty and release.asked(scenario) and subject.supports(scenario) is None
        return scenario if fits else None

    plan = [scenario for scenario in corners if release.asked(scenario)]
    return filled(plan, CELLS, contract=subject.contract, most=20 * CELLS, taken=taken)


@pytest.fixture(scope="module", params=RELEASES, ids=lambda release: release.version)
def run(request, tmp_path_factory) -> tuple[Release, list[CellRecord]]:
    """The records of the plan, run by the real engine in warm workers of the release's environment."""
    release = request.param
    cache = Path(os.environ.get("STEPAUDIT_CACHE") or default_cache())
    subject = completed(resolve(f"hf[transformers=={release.version}]"), cache)
    try:
        materialise(subject.environment, cache)
    except EnvironmentFailedError as error:
        pytest.skip(str(error))
    plan = [PlannedCell(scenario=scenario, subject=subject) for scenario in drawn_plan(release, subject)]
    options = SweepOptions(workers=1, timeout_s=60.0, fresh_fraction=0.0, cache_dir=cache)
    with Store(tmp_path_factory.mktemp("release") / RECORDS_NAME) as store:
        run_sweep(plan, store, options, lambda event: None)
        return release, list(store.records())


@pytest.mark.timeout(600)
def test_the_contract_is_what_the_release_does(run):
    """Every count, window, weight, rate, claim and cadence of the release is the one that its contract predicts."""
    release, records = run
    assert len(records) == CELLS
    for record in records:
        assert record.outcome is Outcome.COMPLETED, (record.scenario.label, record.error)
        assert record.contract == release.contract
        assert record.versions["transformers"] == release.version
        books = draw_up(record, CONTRACTS[record.contract])
        assert_equal_accounts(books)
        known = set(release.known) if record.scenario.lengths is LengthProfile.RAGGED else set()
        if release.weighed(record.scenario):
            assert_weights(books)
        else:
            known |= {"weight", "leak", "clip"}
        assert_rules_hold(books, known=known)


def test_a_known_fault_of_the_release_shows(run):
    """What is left out of the comparison is left out because it really happens."""
    release, records = run
    found = {rule for record in records for rule in broken_rules(draw_up(record, CONTRACTS[record.contract]))}
    assert release.known <= found


def test_the_old_release_breaks_the_contract_of_today(run):
    """Judged by `hf-5`, what has changed since shows."""
    release, records = run
    broken = {rule for record in records for rule in broken_rules(draw_up(record, CONTRACTS["hf-5"]))}
    expected = {
        "hf-4.45": {"target", "window", "remainder", "weight", "schedule"},
        "hf-4.46": {"window", "log"},
        "hf-4.57": {"log", "eval"},
    }
    assert expected[release.contract] <= broken
