"""`stepaudit fuzz`: search for scenarios in which a trainer breaks a rule, and reduce them to the smallest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console

from ...scenarios import Scenario, ScenarioError, scenario_from_mapping
from ...scenarios.known import KnownDeviation
from ..contract import Contract, contract_named, rule_named
from ..diagnosis.fuzz_records import Broken, FuzzFinding, FuzzResult
from ..diagnosis.fuzzing import FuzzOptions
from ..diagnosis.fuzzing import fuzz as search
from ..diagnosis.text import finding_lines
from ..judging.cells import judge_cell, reproduce_line
from ..judging.verdict import CellVerdict, Deviation, ExitCode, Standing
from ..ledger import CellRecord, Outcome
from ..running.plan import SweepOptions
from ..running.store import Store
from ..subjects import resolve
from .conclude import known_deviations
from .manifest import RECORDS
from .numbers import Whole, at_least, seconds_of
from .warm_cells import WarmCells

__all__ = ["EXAMPLES", "fuzz"]

EXAMPLES = "examples.jsonl"


class Example(BaseModel):
    """A line of the example database: a scenario that once broke a rule; the next fuzz begins with it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    subject: str
    rule: str
    scenario: dict[str, str | int | float | bool | None]


def fuzz(
    *,
    subject: str,
    budget: str = "60s",
    seed: Whole = 0,
    rule: str | None = None,
    contract: str | None = None,
    known: Path | None = None,
    out: Path = Path("stepaudit-fuzz"),
    jobs: Whole = 2,
    timeout: float = 20.0,
) -> int:
    """Search for scenarios in which a trainer breaks a rule, and reduce each to one that nothing simplifies further.

    Exits with 1 when it finds something new, with 0 otherwise; what the known deviations cover is listed as known.

    Parameters
    ----------
    subject
        The trainer under audit.
    budget
        Wall time of the search: 60, 60s or 2m.
    seed
        The same seed draws the same scenarios.
    rule
        Look at this rule only.
    contract
        Judge by this contract instead of the subject's own.
    known
        A file of known deviations instead of the built-in one.
    out
        Directory of the records and of the example database.
    jobs
        Worker processes.
    timeout
        Seconds that one cell may take.
    """
    seconds = _seconds(budget)
    rule_id = rule_named(rule).rule_id if rule is not None else None
    trainer = resolve(subject)
    chosen = contract_named(contract or trainer.contract)
    entries = known_deviations(known)
    options = replace(
        SweepOptions(), workers=at_least("--jobs", jobs, 1), timeout_s=seconds_of(timeout), fresh_fraction=0.0
    )
    out.mkdir(parents=True, exist_ok=True)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    judge = _Judge(chosen, entries)
    with Store(out / RECORDS) as store, WarmCells(trainer, store, options) as warm:
        warm.run([Scenario()])  # the budget is for searching, not for the worker's imports

        def verdicts(scenarios: Sequence[Scenario]) -> list[tuple[Broken, ...] | None]:
            return [judge.broken(record) for record in warm.run(scenarios)]

        def tell(finding: FuzzFinding) -> None:
            for line in finding_lines(finding, reproduce_line(subject, finding.shrunk.scenario)):
                console.print(line.removeprefix("# "), style="bold" if line.startswith("# ") else "")
            console.print()

        result = search(
            verdicts,
            contract=chosen,
            supports=warm.supports,
            options=FuzzOptions(budget_s=seconds, seed=seed, rule=rule_id),
            examples=_examples(out / EXAMPLES, subject),
            on_finding=tell,
        )
    _remember(out / EXAMPLES, subject, result)
    return _concluded(console, subject, result, judge)


class _Judge:
    """Judges records by a contract and the known deviations."""

    def __init__(self, contract: Contract, known: tuple[KnownDeviation, ...]) -> None:
        self._contract = contract
        self._known = known
        self._today: date = datetime.now(UTC).date()
        self.crashes: dict[str, tuple[int, Scenario]] = {}

    def broken(self, record: CellRecord) -> tuple[Broken, ...] | None:
        """Return what a cell breaks; None where it has no books."""
        if record.outcome is Outcome.ERROR and record.error is not None:
            message = f"{record.error.kind}: {record.error.message}"
            count, first = self.crashes.get(message, (0, record.scenario))
            self.crashes[message] = (count + 1, first)
        if record.outcome is not Outcome.COMPLETED:
            return None
        verdict: CellVerdict = judge_cell(record, self._contract, self._known, today=self._today).verdict
        return tuple(_broken(item) for item in verdict.deviations)


def _broken(deviation: Deviation) -> Broken:
    way = {"no end": "no end" in deviation.got}
    counts = [text.split()[0] for text in (deviation.got, deviation.expected)]
    if all(count.isdecimal() for count in counts):
        got, due = map(int, counts)
        way |= {"more": got > due, "less": got < due}
    standing = "" if deviation.standing in {Standing.NEW, Standing.KNOWN} else f" {deviation.standing.value}"
    return Broken(
        rule=deviation.rule,
        way=next((name for name, holds in way.items() if holds), "") + standing,
        known=deviation.known_id if deviation.standing is Standing.KNOWN else None,
        expected=deviation.expected,
        got=deviation.got,
    )


def _concluded(console: Console, subject: str, result: FuzzResult, judge: _Judge) -> int:
    new = [item for item in result.findings if item.broken.known is None]
    unreduced = [broken for broken, _ in result.cut_short if broken.known is None]
    for broken, scenario in result.cut_short:
        console.print(f"{broken.rule}: no time left to reduce it; {reproduce_line(subject, scenario)}")
    for message, (count, scenario) in judge.crashes.items():
        console.print(f"{count} scenarios gave no books: {message} (e.g. {scenario.label})")
    known = len(result.findings) - len(new)
    console.print(
        f"{subject}: {len(new) + len(unreduced)} new and {known} known findings in {result.scenarios} scenarios, "
        f"{result.seconds:.0f} s"
    )
    if result.scenarios == result.not_run:
        return ExitCode.NOTHING
    return ExitCode.VIOLATED if new or unreduced else ExitCode.PASSED


def _seconds(text: str) -> float:
    """Return the seconds that `90`, `90s` or `2m` mean."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in {"s", "m"} else (text, "s")
    try:
        seconds = float(number) * (60.0 if unit == "m" else 1.0)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise ScenarioError(f"budget must be a time like 60s or 2m, not {text!r}")
    return seconds


def _examples(path: Path, subject: str) -> list[Scenario]:
    """Return the scenarios that earlier fuzzes of this subject have kept."""
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            example = Example.model_validate_json(line)
        except ValidationError as error:
            raise ScenarioError(f"{path}: line {number} is no example: {error.errors()[0]['msg']}") from None
        if example.subject == subject:
            found.append(scenario_from_mapping(dict(example.scenario), where=f"{path}: line {number}"))
    return found


def _remember(path: Path, subject: str, result: FuzzResult) -> None:
    """Add the reduced scenarios to the example database."""
    kept = set(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else set()
    lines = [
        Example(subject=subject, rule=item.broken.rule, scenario=item.shrunk.scenario.differences())
        for item in result.findings
    ]
    with path.open("a", encoding="utf-8") as file:
        for example in lines:
            text = json.dumps(example.model_dump(), sort_keys=True)
            if text not in kept:
                kept.add(text)
                file.write(text + "\n")
