"""One cell inside a worker: the subject trains under the probes, and what was seen is kept."""

from __future__ import annotations

import time
import traceback
from dataclasses import replace
from pathlib import Path

from ...scenarios import ModelKind
from ..contract import contract_named
from ..ledger import CellError, CellRecord, Claims, Outcome, Replay, Resumption, account_of
from ..probes import Runaway, planned_from_output
from ..subjects import Subject, resolve
from . import output
from .packed import blank_record
from .request import CellRequest
from .resumption import NotResumableError, train_resumed
from .sitting import Sitting, final_parameters

__all__ = ["execute", "run_cell"]


def execute(request: CellRequest, scratch: Path) -> CellRecord:
    """Run one cell of the subject that the request names; what a worker does."""
    return run_cell(resolve(request.subject), request, scratch)


def run_cell(subject: Subject, request: CellRequest, scratch: Path) -> CellRecord:
    """Run one cell and return its record; an exception of the subject is the cell's error.

    Args:
        subject: who trains.
        request: scenario and identity of the cell.
        scratch: an empty directory that is removed afterwards.
    """
    blank = blank_record(request)
    if request.scenario.ranks == 1:
        return _run_alone(subject, request, scratch, blank, into=[])
    from .ranks import run_ranks

    def run_rank(directory: Path) -> tuple[CellRecord, tuple[float, ...]]:
        sittings: list[Sitting] = []
        record = _run_alone(subject, request, directory, blank, into=sittings)
        return record, final_parameters(sittings[-1].model) if sittings else ()

    return run_ranks(request, scratch, run_rank)


def _run_alone(
    subject: Subject, request: CellRequest, scratch: Path, blank: CellRecord, *, into: list[Sitting]
) -> CellRecord:
    """Run the cell in this process; `into` gets its sittings."""
    sittings = into
    resumption = None
    began = time.perf_counter()
    try:
        claims, resumption = _train(subject, request, scratch, sittings)
    except NotResumableError as refusal:
        return replace(blank, outcome=Outcome.UNSUPPORTED, reason=str(refusal), output=output.take())
    except Runaway:
        claims = Claims()  # it never came to the end, where it would have made them
    except Exception as error:  # noqa: BLE001  whatever a trainer raises is a fact about the cell
        return replace(
            blank,
            outcome=Outcome.ERROR,
            events=sittings[-1].recorder.close() if sittings else (),
            error=CellError(
                kind="exception", message=f"{type(error).__name__}: {error}", traceback=traceback.format_exc()
            ),
            output=output.take(),
            seconds=time.perf_counter() - began,
        )
    seconds = time.perf_counter() - began
    printed = output.take()
    reason = _never_read(request, claims)
    sitting = sittings[-1]
    record = replace(
        blank,
        outcome=Outcome.UNSUPPORTED if reason else Outcome.COMPLETED,
        reason=reason,
        events=sitting.recorder.close(),
        claims=_with_printed(claims, printed) if subject.prints_claims else claims,
        output=printed,
        seconds=seconds,
        resumption=resumption,
    )
    return record if reason else replace(record, replay=_replay(record, sitting))


def _train(
    subject: Subject, request: CellRequest, scratch: Path, sittings: list[Sitting]
) -> tuple[Claims, Resumption | None]:
    scenario, options = request.scenario, request.options
    if scenario.resume_at is not None:
        resumed = train_resumed(subject, scenario, request.contract, options, scratch, into=sittings)
        return resumed.claims, resumed.resumption
    sittings.append(Sitting.begin(scenario, request.contract, options))
    return sittings[-1].train(subject, scratch), None


def _replay(record: CellRecord, sitting: Sitting) -> Replay | None:
    """Replay a run of a real model; the tracer's books are exact, and need none."""
    scenario = record.scenario
    if scenario.model is ModelKind.TRACER:
        return None
    from ..oracle import replay_run
    from ..workloads.numeric import AUTOCAST, NumericWorkload

    workload = sitting.workload
    assert isinstance(workload, NumericWorkload)
    account = account_of(record.events)
    return replay_run(
        account,
        scenario,
        contract_named(record.contract),
        build=workload.fresh_model,
        build_exact=workload.exact_model,
        batch_of=workload.batch,
        trained=sitting.model,
        autocast=AUTOCAST[scenario.precision],
    )


def _never_read(request: CellRequest, claims: Claims) -> str:
    """Return which request a loop of one's own cannot have honoured, because it never looked at it."""
    scenario = request.scenario
    if scenario.drop_last and "dataloader_drop_last" in claims.unread:
        return "drop_last: the loop never reads args.dataloader_drop_last"
    if scenario.precision.value in claims.unread:
        return f"precision {scenario.precision.value}: the loop never reads args.{scenario.precision.value}"
    return ""


def _with_printed(claims: Claims, printed: str) -> Claims:
    """Add the totals that the subject only printed; what it handed over itself comes first."""
    planned = planned_from_output(printed)
    return replace(claims, planned_steps=(claims.planned_steps or {}) | planned) if planned else claims
