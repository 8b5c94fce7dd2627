"""`stepaudit faults`: run the seeded faults and the unusual trainers, and print how many were caught."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from ...scenarios import Scenario, ScenarioError, Tier, nearest
from ...scenarios.faults import FAULTS, UNUSUAL
from ...scenarios.suites import load_suite
from ..contract import contract_named
from ..judging.cells import judge_cell
from ..judging.score import Catch, FaultScore, Score, UnusualScore, score_fault, score_unusual
from ..judging.verdict import CellVerdict, ExitCode
from ..running.engine import run_sweep
from ..running.events import CellFinished, CellReused, SweepEvent
from ..running.plan import PlannedCell, SweepOptions
from ..running.store import RECORDS_NAME, Store
from ..subjects import resolve
from .numbers import Count, at_least

__all__ = ["faults"]

BESIDE = ("precision", "ranks")
"""what the trainers of mixed precision and of several ranks run, beside the suite that is asked for"""


_TRACED = Scenario()


def faults(
    *,
    suite: str = "default",
    only: Annotated[list[str] | None, Parameter(negative="")] = None,
    numeric: Annotated[bool, Parameter(negative="")] = False,
    out: Path = Path("stepaudit-out/faults"),
    jobs: Count = None,
) -> int:
    """Run every seeded fault and every unusual trainer over a suite, and print the score.

    Parameters
    ----------
    suite
        The scenarios; each trainer runs those that it supports. Trainers of mixed precision run suite precision, and
        those of several ranks suite ranks.
    only
        Names of faults or unusual trainers, may be repeated.
    numeric
        Run suite numeric too, on a real model, and print the score of the trace tier alone and of both. Many minutes.
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
    beside = [name for name in (*BESIDE, *(["numeric"] if numeric else [])) if name != suite]
    scenarios = [scenario for name in (suite, *beside) for scenario in load_suite(name).scenarios]
    plan = [
        PlannedCell(scenario=scenario, subject=subject)
        for subject in map(resolve, (*seeded.values(), *unusual.values()))
        for scenario in scenarios
        if subject.supports(scenario) is None
    ]
    options = (
        SweepOptions(fresh_fraction=0.0)
        if jobs is None
        else SweepOptions(fresh_fraction=0.0, workers=at_least("--jobs", jobs, 1))
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

        tally, traced = _Tally(), _Tally()
        for name, subject in (seeded | unusual).items():
            labels = (cell.scenario.label for cell in plan if cell.subject.name == subject)
            cells = list(_judged(store, (ids[subject][label] for label in labels)))
            tally.add(name, cells)
            takes_trace = resolve(subject).supports(_TRACED) is None
            traced.add(name, [cell for cell in cells if not takes_trace or _is_traced(cell)])
    console = Console(highlight=False, markup=False)
    if numeric:
        console.print(f"The trace tier alone: {_sentence(traced.score())}")
    score = tally.score()
    _print(score, console)
    return ExitCode.PASSED if score.is_perfect else ExitCode.VIOLATED


class _Tally:
    """The scores of the trainers, one after the other."""

    def __init__(self) -> None:
        self._faults: list[FaultScore] = []
        self._unusual: list[UnusualScore] = []

    def add(self, name: str, cells: list[CellVerdict]) -> None:
        """Score one trainer."""
        fault = FAULTS.get(name)
        if fault is None:
            self._unusual.append(score_unusual(name, cells))
        else:
            self._faults.append(score_fault(name, fault.rule, fault.family.value, cells))

    def score(self) -> Score:
        """Return the scores of all."""
        return Score(faults=tuple(self._faults), unusual=tuple(self._unusual))


def _is_traced(cell: CellVerdict) -> bool:
    return bool(cell.scenario["tier"] == Tier.TRACE)


def _judged(store: Store, cell_ids: Iterable[str]) -> Iterator[CellVerdict]:
    today = datetime.now(UTC).date()
    for cell_id in cell_ids:
        record = store.get(cell_id)
        if record is not None:
            yield judge_cell(record, contract_named(record.contract), (), today=today).verdict


def _sentence(score: Score) -> str:
    return (
        f"{score.caught(Catch.NAMED)} of {len(score.faults)} seeded faults caught by the named rule, "
        f"{score.caught(Catch.OTHER)} by another rule only, {score.caught(Catch.MISSED)} missed; "
        f"{score.false_alarms} false alarms about {len(score.unusual)} correct trainers; "
        f"{score.unjudged} cells not judged"
    )


def _print(score: Score, console: Console) -> None:
    missed = [fault for fault in score.faults if fault.catch is not Catch.NAMED]
    console.print(_sentence(score), style="bold")
    table = Table(box=None, pad_edge=False)
    for column in ("", "fault", "rule", "shown by", "first at"):
        table.add_column(column, no_wrap=True)
    table.add_column("other rules", overflow="fold")
    family = ""
    for fault in sorted(score.faults, key=lambda item: (item.family, item.catch is Catch.NAMED, item.name)):
        if fault.family != family:
            family = fault.family
            table.add_row("", family.upper())
        table.add_row(
            "✓" if fault.catch is Catch.NAMED else "✗",
            fault.name,
            fault.rule,
            f"{fault.failing}/{fault.cells}",
            str(fault.first or "-"),
            " ".join(sorted(fault.others)),
        )
    console.print(table)
    for fault in missed:
        console.print(f"✗ {fault.name}: {fault.catch.value}: {FAULTS[fault.name].text}")
    for item in score.unusual:
        for rule, reproduce in item.alarms.items():
            console.print(f"✗ false alarm about {item.name}: rule {rule}; reproduce with: {reproduce}")
