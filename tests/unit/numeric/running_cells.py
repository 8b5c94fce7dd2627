"""Runs one cell of the numeric tier in this process and draws up its books."""

from __future__ import annotations

import tempfile
from pathlib import Path

from stepaudit.harness.contract import CONTRACTS, RULES, CellBooks, NotJudged, draw_up
from stepaudit.harness.ledger import CellRecord, Outcome
from stepaudit.harness.running.cell import execute
from stepaudit.harness.running.request import CellRequest
from stepaudit.harness.subjects import resolve
from stepaudit.scenarios import Scenario

NUMERIC = {"model": "tiny-llama", "tier": "numeric", "rows": 9, "grad_accum": 2, "optimizer": "adamw_torch"}


def run_cell(name: str, **changes) -> CellRecord:
    """A record that must be complete."""
    scenario = Scenario(**(NUMERIC | changes))
    subject = resolve(name)
    assert subject.supports(scenario) is None
    request = CellRequest(
        cell_id="test",
        scenario=scenario,
        subject=name,
        contract=subject.contract,
        versions={},
        device="cpu",
        timeout_s=60.0,
    )
    with tempfile.TemporaryDirectory() as scratch:
        record = execute(request, Path(scratch))
    assert record.outcome is Outcome.COMPLETED, (record.error, record.reason)
    return record


def books_of(record: CellRecord) -> CellBooks:
    """Its books under the subject's own contract."""
    return draw_up(record, CONTRACTS[record.contract])


def broken(books: CellBooks) -> dict[str, list]:
    """The findings of every rule that has some."""
    answers = {name: rule.judge(books) for name, rule in RULES.items()}
    return {name: found for name, found in answers.items() if found and not isinstance(found, NotJudged)}
