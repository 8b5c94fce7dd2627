"""`stepaudit replay`: one cell again, in a fresh worker, with both ledgers compared."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from ...scenarios import ScenarioError
from ..contract import RULES, NotJudged, contract_named, draw_up
from ..ledger import CellRecord, Outcome
from ..running.engine import run_sweep
from ..running.events import SweepEvent
from ..running.plan import PlannedCell, SweepOptions
from ..running.store import Store
from ..subjects import resolve
from .check import open_records
from .manifest import RECORDS
from .numbers import seconds_of

__all__ = ["replay"]


def replay(cell: str, directory: Path = Path("stepaudit-out"), /, *, timeout: float = 120.0) -> int:
    """Run one recorded cell again and show its books, rule by rule.

    Parameters
    ----------
    cell
        Id of the cell, or enough of its beginning.
    directory
        The output directory of the run that has it.
    timeout
        Seconds that it may take.
    """
    console = Console(soft_wrap=True, highlight=False, markup=False)
    with open_records(directory) as store:
        before = _find(store, cell)
    with tempfile.TemporaryDirectory() as scratch, Store(Path(scratch) / RECORDS) as fresh:
        options = replace(SweepOptions(), workers=1, timeout_s=seconds_of(timeout), fresh_fraction=0.0)
        run_sweep(
            [PlannedCell(scenario=before.scenario, subject=resolve(before.subject))], fresh, options, _ignored
        )
        again = next(iter(fresh.records()))
    console.print(f"cell     {before.cell_id[:16]}  {before.subject}  {before.scenario.label}", style="bold")
    same = again.digest() == before.digest()
    console.print(f"ledger   {'the same as in the record' if same else 'differs from the record'}")
    if again.cell_id != before.cell_id:
        console.print("         versions, device or the subject's source are not those of the record")
    if again.outcome is not Outcome.COMPLETED:
        text = again.error.message if again.error else again.reason
        console.print(f"outcome  {again.outcome.value}: {text}")
        if again.error and again.error.traceback:
            console.print(again.error.traceback)
        return 3
    return _print_rules(console, again) if same else 1


def _find(store: Store, prefix: str) -> CellRecord:
    ids = [cell_id for cell_id in store.survey().outcomes if cell_id.startswith(prefix)]
    if len(ids) != 1:
        what = "no cell has an id that begins" if not ids else f"{len(ids)} cells have an id that begins"
        raise ScenarioError(f"{what} with {prefix!r}")
    record = store.get(ids[0])
    if record is None:
        raise ScenarioError(f"the record of cell {ids[0]} is damaged: run the sweep again")
    return record


def _print_rules(console: Console, record: CellRecord) -> int:
    books = draw_up(record, contract_named(record.contract))
    broken = 0
    for rule in RULES.values():
        findings = rule.judge(books)
        if isinstance(findings, NotJudged):
            console.print(f"  -  {rule.rule_id:<10} not judged: {findings.reason}", style="dim")
        elif not findings:
            console.print(f"  ok {rule.rule_id:<10} {rule.formula}")
        for finding in findings if isinstance(findings, list) else ():
            broken = 1
            console.print(
                f"  X  {rule.rule_id:<10} expected {finding.expected}, got {finding.got}", style="bold"
            )
            console.print(f"     {'':<10} {finding.formula}")
            console.print(f"     {'':<10} {finding.text}")
    return broken


def _ignored(event: SweepEvent) -> None:
    """A replay shows its result, not its progress."""
