"""What the pytest plugin does once a test audits: run the cell in this process, judge it, and tell pytest."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ..reports.junit import deviation_text
from ..scenarios import Scenario
from ..scenarios.known import KnownDeviation
from .cli.conclude import verdict_of
from .cli.manifest import Manifest, write_manifest
from .contract import contract_named
from .judging.cells import Judged, judge_cell
from .judging.verdict import CellVerdict, Standing
from .running.cell import run_cell
from .running.environment import installed_versions
from .running.packed import pack
from .running.request import CellRequest, cell_id
from .running.store import RECORDS_NAME, Store
from .subjects.own import FunctionLoop

__all__ = ["audit_function", "write_session_report"]


def audit_function(
    train: Callable[..., Any],
    scenario: Scenario,
    *,
    scratch: Path,
    known: Sequence[KnownDeviation],
    report: Path | None,
) -> CellVerdict:
    """Audit a loop on one scenario and let the test pass, fail, skip or xfail accordingly.

    Args:
        train: `train(model, dataset, args)`.
        scenario: what is asked for.
        scratch: an empty directory.
        known: known deviations of this loop.
        report: directory whose records the cell is added to, or None.

    Returns:
        The verdict, where every rule holds.
    """
    subject = FunctionLoop(train)
    if reason := subject.supports(scenario):
        pytest.skip(f"unsupported: {reason}")
    versions = {**installed_versions(subject.packages, None), "source": subject.fingerprint}
    request = CellRequest(
        cell_id=cell_id(scenario=scenario, subject=subject.name, versions=versions, device="cpu"),
        scenario=scenario,
        subject=subject.name,
        contract=subject.contract,
        versions=versions,
        device="cpu",
        timeout_s=0.0,
    )
    record = run_cell(subject, request, scratch)
    if report is not None:
        report.mkdir(parents=True, exist_ok=True)
        with Store(report / RECORDS_NAME) as store:
            store.put(pack(record))
    judged = judge_cell(record, contract_named(record.contract), known, today=datetime.now(UTC).date())
    _tell(judged)
    return judged.verdict


def _tell(judged: Judged) -> None:
    verdict = judged.verdict
    if verdict.error is not None:
        pytest.fail(f"not judged: {verdict.error.message}\n{verdict.error.traceback}", pytrace=False)
    if verdict.reason:
        pytest.skip(f"unsupported: {verdict.reason}")
    open_ones = [item for item in verdict.deviations if item.standing is not Standing.KNOWN]
    if open_ones:
        head = f"{verdict.subject} on {verdict.label}"
        pytest.fail("\n".join([head, *(deviation_text(item) for item in open_ones)]), pytrace=False)
    if judged.stale:
        pytest.fail(
            f"known deviation {', '.join(judged.stale)} covers this cell, which now conforms", pytrace=False
        )
    if verdict.deviations:
        pytest.xfail(", ".join(f"{item.rule}: {item.known_id}" for item in verdict.deviations))


def write_session_report(directory: Path, known: tuple[KnownDeviation, ...]) -> None:
    """Judge every cell that this session, or another into the same directory, has recorded, and write the reports."""
    path = directory / RECORDS_NAME
    if not path.is_file():
        return
    from ..reports.write import write_reports

    with Store(path) as store:
        ids = sorted(store.survey().outcomes)
        manifest = Manifest(
            command=" ".join(["pytest", *sys.argv[1:]]),
            suite="pytest",
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=0.0,
            device="cpu",
            contract=None,
            rules=None,
            executed=len(ids),
            from_store=0,
            repeated=0,
            interrupted=False,
            pairs=None,
            cells=ids,
            reference_cells=[],
        )
        write_manifest(directory, manifest)
        write_reports(verdict_of(manifest, store, known), store.get, directory)
