"""One cell on several ranks, started by torchrun's own elastic agent; every rank has probes and a ledger of its own.

    worker ─ agent (leads a process group) ─ guard of rank r ─ rank r

All are forks of the warm worker, so that imports are paid once: `elastic_launch` is what `torchrun` calls, here with
a function where torchrun has a command line. A guard waits for its rank and notes how it ended. Each process dies with
the one above it. What they have to say lies in files (`rank_files`).
"""

from __future__ import annotations

import array
import contextlib
import logging
import os
import select
import signal
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..ledger import CellRecord
from . import output
from .containment import DUMP_SIGNAL, contain, die_with
from .failure import failure_of, named_memory
from .packed import error_record, pack
from .rank_files import Job, joined

if TYPE_CHECKING:
    from .request import CellRequest

__all__ = ["LAUNCHER", "RunRank", "run_ranks"]

RunRank = Callable[[Path], tuple[CellRecord, tuple[float, ...]]]
"""runs the cell as this rank, with a directory to write to; returns its record and the model's final parameters"""

LAUNCHER: Final = (
    "torch.distributed.launcher.api",
    "torch.distributed.elastic.rendezvous.c10d_rendezvous_backend",
    "torch.nn.parallel",
    "stepaudit.harness.workloads.tracing",
    "stepaudit.harness.running.sitting",
)
"""modules that a worker imports once, so that no agent and no rank has to"""

_MARGIN_S: Final = 2.0
"""before the pool would kill the worker: so that the error names the rank"""
_DUMP_PATIENCE_S: Final = 1.0
_AGENT_LOOKS_S: Final = 0.02


def run_ranks(request: CellRequest, scratch: Path, run_rank: RunRank) -> CellRecord:
    """Run the cell on as many ranks as its scenario asks for and return one record: rank 0's, with the others' ledgers.

    Args:
        request: of the cell; ranks that have not ended shortly before its `timeout_s` (0 for none) are killed.
        scratch: an empty directory.
        run_rank: what each rank does, under the environment variables of torchrun.
    """
    began = time.perf_counter()
    job = Job(directory=Path(tempfile.mkdtemp(prefix="ranks-", dir=scratch)), count=request.scenario.ranks)
    own = os.getpid()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    agent = os.fork()
    if not agent:
        try:
            _lead(own, request, job, run_rank)
        finally:
            os._exit(1)
    with contextlib.suppress(OSError):  # the agent does it too: whoever comes first
        os.setpgid(agent, agent)
    patience = request.timeout_s - min(_MARGIN_S, request.timeout_s / 5) if request.timeout_s else None
    try:
        in_time = _ended(agent, patience)
        if not in_time:
            _ask_where(job)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(agent, signal.SIGKILL)
        os.waitpid(agent, 0)
    record = joined(request, job, patience=None if in_time else patience)
    return replace(record, output=output.take(), seconds=time.perf_counter() - began)


def _ended(pid: int, patience: float | None) -> bool:
    """Wait for a child, without reaping it; False when patience is over."""
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], patience)[0])
    finally:
        os.close(descriptor)


def _ask_where(job: Job) -> None:
    """Let every rank that still runs write where it is."""
    running = [rank for rank in range(job.count) if job.pid(rank) and not job.ended(rank)]
    for rank in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(job.pid(rank), DUMP_SIGNAL)
    until = time.monotonic() + _DUMP_PATIENCE_S
    while time.monotonic() < until and not all(job.dump(rank) for rank in running):
        time.sleep(0.02)


def _lead(worker: int, request: CellRequest, job: Job, run_rank: RunRank) -> None:
    """Be the agent: have torchrun's launcher start the ranks, wait for them, and end."""
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    die_with(worker)
    output.leave()
    try:
        from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch

        for logger in ("torch.distributed.elastic", "torch.multiprocessing"):
            logging.getLogger(logger).setLevel(logging.CRITICAL)  # what failed is told once, and by its rank
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=job.count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            monitor_interval=_AGENT_LOOKS_S,
            start_method="fork",
            logs_specs=DefaultLogsSpecs(log_dir=str(job.directory / "elastic")),
        )
        with contextlib.suppress(ChildFailedError):  # which rank failed, and how, is in the job's files
            elastic_launch(config, _guard)(os.getpid(), request, job, run_rank)
    except BaseException:  # noqa: BLE001 - the agent's own trouble is told, and nothing of it comes back into the worker
        job.agent_trouble.write_text(traceback.format_exc(), encoding="utf-8")
    os._exit(0)


def _guard(agent: int, request: CellRequest, job: Job, run_rank: RunRank) -> None:
    """Be what the agent takes for the rank: fork the rank itself, and note how it ends."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    die_with(agent)
    rank, own = int(os.environ["RANK"]), os.getpid()
    child = os.fork()
    if not child:
        try:
            die_with(own)
            _be(rank, request, job, run_rank)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    job.note_end(rank, status)
    if status:
        os._exit(1)


def _be(rank: int, request: CellRequest, job: Job, run_rank: RunRank) -> None:
    """Be the rank: run the cell, leave the record and the final parameters, and end."""
    contain(crash=job.open_dump(rank))
    job.note_pid(rank, os.getpid())
    _keep_process_groups()
    own = os.getpid()
    parameters: tuple[float, ...] = ()
    try:
        record, parameters = run_rank(job.directory)
    except BaseException as error:  # noqa: BLE001 - sys.exit is the subject's too
        record = error_record(request, failure_of(error))
    if os.getpid() != own:  # a child that the subject forked came back from it: it has no say here
        os._exit(1)
    job.leave(rank, pack(named_memory(record)), array.array("d", parameters).tobytes())
    os._exit(0 if record.error is None else 1)


def _keep_process_groups() -> None:
    """Let no process group be freed before the rank ends.

    Where a subject destroys the group and its DistributedDataParallel goes later, torch frees the group in there: it
    waits for gloo's thread while it holds the interpreter's lock, and that thread may be waiting for it (torch 2.13).
    """
    import torch.distributed as dist
    from torch.distributed import distributed_c10d

    kept: list[Any] = []
    destroy = distributed_c10d.destroy_process_group

    def destroy_process_group(*args: Any, **kwargs: Any) -> Any:
        kept.extend(distributed_c10d._world.pg_map)  # noqa: SLF001  nothing public lists them
        return destroy(*args, **kwargs)

    for module in (dist, distributed_c10d):
        vars(module)["destroy_process_group"] = destroy_process_group
