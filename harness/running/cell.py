"""One cell inside a worker: build the workload, attach the probes, let the subject train, keep what was seen."""

from __future__ import annotations

import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...scenarios import Scenario
from ..contract import contract_named, expect
from ..ledger import CellError, CellRecord, Claims, Outcome
from ..probes import Recorder, Runaway, planned_from_output, watch
from ..subjects import Bench, ClaimsInProgress, Subject, resolve
from ..workloads.tracing import TraceWorkload
from . import output
from .request import CellRequest

__all__ = ["execute"]

_MOST_TIMES = 50
_AT_LEAST = 500


def execute(request: CellRequest, scratch: Path) -> CellRecord:
    """Run one cell and return its record; an exception of the subject is the cell's error.

    Args:
        request: scenario, subject and identity of the cell.
        scratch: an empty directory that is removed afterwards.
    """
    scenario = request.scenario
    subject = resolve(request.subject)
    blank = CellRecord(
        cell_id=request.cell_id,
        scenario=scenario,
        subject=request.subject,
        contract=request.contract,
        versions=request.versions,
        device=request.device,
        outcome=Outcome.COMPLETED,
    )
    torch.manual_seed(scenario.seed)
    recorder = Recorder(_budget(scenario, request.contract))
    workload = TraceWorkload(scenario, recorder.fetched, recorder.began_pass)
    began = time.perf_counter()
    try:
        claims = _train(subject, request, scratch, recorder, workload)
    except Runaway:
        claims = Claims()  # it never came to the end, where it would have made them
    except Exception as error:  # noqa: BLE001  whatever a trainer raises is a fact about the cell
        return replace(
            blank,
            outcome=Outcome.ERROR,
            events=recorder.close(),
            error=CellError(
                kind="exception", message=f"{type(error).__name__}: {error}", traceback=traceback.format_exc()
            ),
            output=output.take(),
            seconds=time.perf_counter() - began,
        )
    seconds = time.perf_counter() - began
    printed = output.take()
    reason = ""
    if scenario.drop_last and "dataloader_drop_last" in claims.unread:
        reason = "drop_last: the loop never reads args.dataloader_drop_last"
    return replace(
        blank,
        outcome=Outcome.UNSUPPORTED if reason else Outcome.COMPLETED,
        reason=reason,
        events=recorder.close(),
        claims=_with_printed(claims, printed) if subject.prints_claims else claims,
        output=printed,
        seconds=seconds,
    )


def _train(
    subject: Subject, request: CellRequest, scratch: Path, recorder: Recorder, workload: TraceWorkload
) -> Claims:
    bench = Bench(
        scenario=request.scenario,
        model=workload.model,
        train_dataset=workload.train_dataset,
        eval_dataset=workload.eval_dataset,
        output_dir=scratch,
        claims=ClaimsInProgress(recorder=recorder),
    )
    before = _fingerprint(workload.model)
    with watch(recorder, workload.model, workload.train_dataset, workload):
        claims = subject.train(bench)
    if not recorder.saw_update and before != _fingerprint(workload.model):
        raise RuntimeError("the parameters changed, but no torch optimizer was seen to step: nothing can be counted")
    return claims


def _budget(scenario: Scenario, contract: str) -> int:
    """Return how many micro-batches are enough: no fault that was ever seen multiplies a run by more than 27."""
    return _MOST_TIMES * expect(scenario, contract_named(contract)).micro_batches + _AT_LEAST


def _fingerprint(model: Any) -> tuple[float, ...]:
    return tuple(float(parameter.detach().double().sum()) for parameter in model.parameters())


def _with_printed(claims: Claims, printed: str) -> Claims:
    """Add the totals that the subject only printed; what it handed over itself comes first."""
    planned = planned_from_output(printed)
    return replace(claims, planned_steps=(claims.planned_steps or {}) | planned) if planned else claims
