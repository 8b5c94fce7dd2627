"""The contracts `lightning`, `fabric` and `trl-sft` against the real trainers, over drawn scenarios."""

from __future__ import annotations

import pytest
from agreement import assert_weights
from cell_runs import broken_rules
from drawn_scenarios import filled
from stepaudit.harness.contract import CONTRACTS, draw_up
from stepaudit.harness.ledger import Outcome
from stepaudit.harness.running.engine import run_sweep
from stepaudit.harness.running.plan import PlannedCell, SweepOptions
from stepaudit.harness.running.store import RECORDS_NAME, Store
from stepaudit.harness.subjects import resolve, suited
from stepaudit.scenarios import Scenario

CORNERS = [
    Scenario(rows=rows, per_device_batch_size=batch, grad_accum=accum, epochs=epochs, max_steps=limit)
    for rows, batch, accum in ((16, 2, 2), (9, 2, 2), (13, 2, 4), (3, 1, 8))
    for epochs, limit in ((3.0, None), (2.0, 3), (1.0, 7))
]
"""the grid where faults are known to show; asked for both, the first to come counts"""


def drawn_plan(name: str, cells: int) -> list[Scenario]:
    """The corners, and scenarios of the drawn space that the subject supports, always the same."""
    subject = resolve(name)
    corners = [suited(subject, item) for item in CORNERS]

    def taken(scenario):
        scenario = suited(subject, scenario.with_(epochs=max(1.0, float(round(scenario.epochs)))))
        return scenario if subject.supports(scenario) is None else None

    plan = [item for item in corners if subject.supports(item) is None]
    return filled(plan, cells, contract=subject.contract, most=8 * cells, taken=taken)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "cells"), [("lightning", 50), ("fabric", 30), ("trl-sft", 12)])
def test_the_contract_is_what_the_trainer_does(name, cells, cache, laid_over, tmp_path):
    """Every count, window, weight, rate and claim is the one that the contract predicts, and no rule has a finding."""
    laid_over(name)
    plan = [PlannedCell(scenario=item, subject=resolve(name)) for item in drawn_plan(name, cells)]
    assert len(plan) == cells
    options = SweepOptions(workers=1, timeout_s=120.0, fresh_fraction=0.0, cache_dir=cache)
    with Store(tmp_path / RECORDS_NAME) as store:
        run_sweep(plan, store, options, lambda event: None)
        records = list(store.records())
    assert len(records) == cells
    for record in records:
        assert record.outcome is Outcome.COMPLETED, (record.scenario.label, record.error)
        books = draw_up(record, CONTRACTS[record.contract])
        observed, expected = books.observed, books.expected
        assert observed.optimizer_steps == expected.optimizer_steps == books.claimed.global_step
        assert observed.micro_batches == expected.micro_batches, record.scenario.label
        assert observed.windows == expected.windows
        assert observed.epochs_entered == expected.epochs_entered
        if expected.terms.M:
            assert set((books.claimed.planned_steps or {"": expected.terms.T}).values()) == {expected.terms.T}
        if (
            name != "trl-sft"
        ):  # there the weights come by projection, and the rules know how near is near enough
            assert_weights(books)
        assert broken_rules(books) == {}, record.scenario.label
