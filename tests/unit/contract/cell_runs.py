"""Runs one cell in this process and draws up its books; shared by the tests of contract, probes and subjects."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

from stepaudit.harness.contract import CONTRACTS, RULES, CellBooks, NotJudged, draw_up
from stepaudit.harness.ledger import CellRecord, Outcome
from stepaudit.harness.running.cell import execute
from stepaudit.harness.running.request import CellRequest
from stepaudit.harness.subjects import resolve
from stepaudit.scenarios import Scenario

__all__ = [
    "NOT_OF_THE_TRACE_TIER",
    "books_of",
    "broken_rules",
    "freeze_heap",
    "holding",
    "run_cell",
    "unjudged_rules",
]


NOT_OF_THE_TRACE_TIER = frozenset({"curve", "params", "ranks", "resume", "skip"})
"""rules that need a real model, several processes, an interruption or a gradient scaler"""


def freeze_heap() -> None:
    """Do what a worker does after its imports: `Trainer.train` collects garbage, and most of the heap is imports."""
    import accelerate  # noqa: F401
    import hypothesis  # noqa: F401  it looks for referrers of the random generators, and finds none among frozen ones
    import transformers.trainer  # noqa: F401
    from stepaudit.harness.subjects import hf_arguments, loop_parts  # noqa: F401

    gc.collect()
    gc.freeze()


def run_cell(subject: str, scenario: Scenario) -> CellRecord:
    """Run a cell with the real probes and return its record, whatever became of it."""
    request = CellRequest(
        cell_id="test",
        scenario=scenario,
        subject=subject,
        contract=resolve(subject).contract,
        versions={},
        device="cpu",
        timeout_s=60.0,
    )
    with tempfile.TemporaryDirectory(prefix="stepaudit-test-") as scratch:
        return execute(request, Path(scratch))


def books_of(subject: str, scenario: Scenario) -> CellBooks:
    """Run a cell that must complete, and draw up its books under the subject's own contract."""
    record = run_cell(subject, scenario)
    assert record.outcome is Outcome.COMPLETED, (record.error, record.reason)
    return draw_up(record, CONTRACTS[record.contract])


def broken_rules(books: CellBooks) -> dict[str, list]:
    """The findings of every rule that has some."""
    answers = {rule_id: rule.judge(books) for rule_id, rule in RULES.items()}
    return {
        rule_id: found for rule_id, found in answers.items() if found and not isinstance(found, NotJudged)
    }


def unjudged_rules(books: CellBooks) -> dict[str, str]:
    """The reason of every rule of the trace tier that could not judge."""
    answers = {rule_id: rule.judge(books) for rule_id, rule in RULES.items()}
    return {
        rule_id: found.reason
        for rule_id, found in answers.items()
        if isinstance(found, NotJudged) and rule_id not in NOT_OF_THE_TRACE_TIER
    }


def holding(books: CellBooks) -> set[str]:
    """The rules that judged and hold."""
    return set(RULES) - set(broken_rules(books)) - set(unjudged_rules(books))
