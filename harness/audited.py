"""What the pytest plugin does once a test audits: run the cell in this process, judge it, and tell pytest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ..reports.junit import excuse_text
from ..reports.terminal import clusters_text
from ..scenarios import Scenario
from ..scenarios.gate import Gate
from .cli.baseline_files import Baseline
from .judging.run import RunFacts, judge_run
from .judging.verdict import CellOutcome, CellVerdict, Verdict
from .ledger import CellRecord, Outcome
from .running.cell import run_cell
from .running.environment import installed_versions
from .running.packed import PackedRecord, pack
from .running.plan import refusal
from .running.request import CellRequest, cell_id, is_repeated
from .subjects.own import FunctionLoop

__all__ = ["Audited", "Auditor"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Audited:
    """One audited cell, as it travels from the process that audits to the one that drives the session.

    Attributes:
        record: the cell.
        repeat: the same cell once more, where it was repeated.
    """

    record: PackedRecord
    repeat: PackedRecord | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Auditor:
    """Audits loops on one scenario, for one test.

    Attributes:
        scenario: what is asked for.
        scratch: an empty directory.
        baseline: known deviations of these loops.
        gate: what the project demands; here it says which subjects are informational.
        repeated: share of the cells that run twice and must give the same ledger.
        cells: what was audited, in order.
    """

    scenario: Scenario
    scratch: Path
    baseline: Baseline
    gate: Gate
    repeated: float
    cells: list[Audited] = field(default_factory=list)

    def __call__(self, train: Callable[..., Any]) -> CellVerdict:
        """Audit `train(model, dataset, args)` and let the test pass, fail, skip or xfail accordingly.

        Returns:
            The verdict, where every rule holds.
        """
        record, repeat = self._run(FunctionLoop(train))
        self.cells.append(Audited(record=pack(record), repeat=pack(repeat) if repeat is not None else None))
        now = datetime.now(UTC)
        is_flaky = repeat is not None and repeat.digest() != record.digest()
        facts = RunFacts(
            command="pytest",
            suite="pytest",
            started=now.isoformat(timespec="seconds"),
            seconds=record.seconds,
            flaky=frozenset({record.cell_id}) if is_flaky else frozenset(),
        )
        verdict = judge_run(
            [record], self.baseline.entries, facts, reference=(), today=now.date(), gate=self.gate
        )
        _tell(verdict, self.gate)
        return verdict.cells[0]

    def _run(self, subject: FunctionLoop) -> tuple[CellRecord, CellRecord | None]:
        versions = {**installed_versions(subject.packages, None), "source": subject.fingerprint}
        request = CellRequest(
            cell_id=cell_id(scenario=self.scenario, subject=subject.name, versions=versions, device="cpu"),
            scenario=self.scenario,
            subject=subject.name,
            contract=subject.contract,
            versions=versions,
            device="cpu",
            timeout_s=0.0,
        )
        if (declined := refusal(request, subject)) is not None:
            return declined, None
        number = len(self.cells)
        record = run_cell(subject, request, self._folder(f"{number}"))
        if record.outcome is not Outcome.COMPLETED or not is_repeated(request.cell_id, self.repeated):
            return record, None
        again = run_cell(subject, request, self._folder(f"{number}-again"))
        return record, again

    def _folder(self, name: str) -> Path:
        folder = self.scratch / name
        folder.mkdir()
        return folder


def _tell(verdict: Verdict, gate: Gate) -> None:
    """Say to pytest what the row of DESIGN's gate table says of this one cell."""
    (cell,) = verdict.cells
    if cell.error is not None:
        pytest.fail(
            f"not judged: {cell.error.message}\nReproduce with: {cell.reproduce}\n{cell.error.traceback}",
            pytrace=False,
        )
    if cell.verdict is CellOutcome.UNSUPPORTED:
        pytest.skip(f"unsupported: {cell.reason}")
    texts = []
    if failing := [cluster for cluster in verdict.clusters if cluster.standing.fails]:
        texts.append(clusters_text(failing))
    texts += [entry.text for entry in verdict.stale]
    if cell.verdict is CellOutcome.FLAKY:
        said = f"flaky: {cell.subject} gave two different ledgers for {cell.label}\nReproduce with: {cell.reproduce}"
        if gate.is_informational(cell.subject) and not texts:
            pytest.xfail(f"informational: {said}")
        texts.insert(0, said)
    if texts:
        pytest.fail("\n\n".join(texts), pytrace=False)
    if cell.deviations:
        pytest.xfail(excuse_text(cell))
