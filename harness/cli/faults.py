"""`stepaudit faults`: run the seeded faults and the unusual trainers, and print how many were caught."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from ...scenarios import ScenarioError, nearest
from ...scenarios.faults import FAULTS, UNUSUAL
from ...scenarios.suites import load_suite
from ..contract import contract_named
from ..judging.cells import judge_cell
from ..judging.score import Catch, Score, score_fault, score_unusual
from ..judging.verdict import CellVerdict, ExitCode
from ..running.engine import run_sweep
from ..running.events import CellFinished, CellReused, SweepEvent
from ..running.plan import PlannedCell, SweepOptions
from ..running.store import RECORDS_NAME, Store
from ..subjects import resolve
from .numbers import Count

__all__ = ["faults"]

PRECISION_SUITE = "precision"
"""what the trainers of mixed precision run, beside the suite that is asked for: the numeric tier, in float16"""


def faults(
    *,
    suite: str = "default",
    only: Annotated[list[str] | None, Parameter(negative="")] = None,
    out: Path = Path("stepaudit-out/faults"),
    jobs: Count = None,
) -> int:
    """Run every seeded fault and every unusual trainer over a suite, and print the score.

    Parameters
    ----------
    suite
        The scenarios; each trainer runs those that it supports. Trainers of mixed precision run suite precision.
    only
        Names of faults or unusual trainers, may be repeated.
    out
        Directory of the records.
    jobs
        Worker processes; one a core.
    """
    names = [*FAULTS, *UNUSUAL]
    for name in only or ():
        if name not in names:
            raise ScenarioError(f"there is no seeded trainer {name!r}{nearest(name, names)}")
    chosen = set(only or names)
    seeded = {name: f"fault@{name}" for name in FAULTS if name in chosen}
    unusual = {name: f"unusual@{name}" for name in UNUSUAL if name in chosen}
    scenarios = (*load_suite(suite).scenarios, *load_suite(PRECISION_SUITE).scenarios)
    plan = [
        PlannedCell(scenario=scenario, subject=subject)
        for subject in map(resolve, (*seeded.values(), *unusual.values()))
        for scenario in scenarios
        if subject.supports(scenario) is None
    ]
    options = (
        SweepOptions(fresh_fraction=0.0) if jobs is None else SweepOptions(fresh_fraction=0.0, workers=jobs)
    )
    out.mkdir(parents=True, exist_ok=True)

    from ...reports.progress import SweepProgress

    ids: dict[str, dict[str, str]] = {}
    progress = SweepProgress(Console(stderr=True, soft_wrap=True))

    def handle(event: SweepEvent) -> None:
        if isinstance(event, (CellFinished, CellReused)):
            ids.setdefault(event.subject, {})[event.scenario.label] = event.cell_id
        progress.handle(event)

    with Store(out / RECORDS_NAME) as store:
        progress.start()
        try:
            run_sweep(plan, store, options, handle)
        finally:
            progress.shutdown()

        def verdicts(subject: str) -> Iterator[CellVerdict]:
            labels = (cell.scenario.label for cell in plan if cell.subject.name == subject)
            return _judged(store, (ids[subject][label] for label in labels))

        score = Score(
            faults=tuple(
                score_fault(name, FAULTS[name].rule, FAULTS[name].family.value, verdicts(subject))
                for name, subject in seeded.items()
            ),
            unusual=tuple(score_unusual(name, verdicts(subject)) for name, subject in unusual.items()),
        )
    _print(score, Console(highlight=False, markup=False))
    return ExitCode.PASSED if score.is_perfect else ExitCode.VIOLATED


def _judged(store: Store, cell_ids: Iterable[str]) -> Iterator[CellVerdict]:
    today = datetime.now(UTC).date()
    for cell_id in cell_ids:
        record = store.get(cell_id)
        if record is not None:
            yield judge_cell(record, contract_named(record.contract), (), today=today).verdict


def _print(score: Score, console: Console) -> None:
    missed = [fault for fault in score.faults if fault.catch is not Catch.NAMED]
    console.print(
        f"{score.caught(Catch.NAMED)} of {len(score.faults)} seeded faults caught by the named rule, "
        f"{score.caught(Catch.OTHER)} by another rule only, {score.caught(Catch.MISSED)} missed; "
        f"{score.false_alarms} false alarms about {len(score.unusual)} correct trainers; "
        f"{score.unjudged} cells not judged",
        style="bold",
    )
    table = Table(show_edge=False)
    for column in ("", "fault", "rule", "family", "cells", "shown by", "first at", "other rules"):
        table.add_column(column)
    for fault in sorted(score.faults, key=lambda item: (item.catch is Catch.NAMED, item.family, item.name)):
        table.add_row(
            "ok" if fault.catch is Catch.NAMED else "X",
            fault.name,
            fault.rule,
            fault.family,
            str(fault.cells),
            str(fault.failing),
            str(fault.first or "-"),
            ", ".join(f"{rule} {count}" for rule, count in sorted(fault.others.items())),
        )
    console.print(table)
    for fault in missed:
        console.print(f"X {fault.name}: {fault.catch.value}: {FAULTS[fault.name].text}")
    for item in score.unusual:
        for rule, reproduce in item.alarms.items():
            console.print(f"X false alarm about {item.name}: rule {rule}; reproduce with: {reproduce}")
