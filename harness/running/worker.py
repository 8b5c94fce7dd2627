"""A warm worker: `python -P -m stepaudit.harness.running.worker`, cell after cell until its pipe closes.

Of its own it needs the standard library only; torch and the subject's libraries come with `setup.imports` and
with the function that runs a cell.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ..ledger import CellRecord
from . import output
from .containment import contain, die_like, die_with, limit_memory
from .failure import failure_of, named_memory
from .packed import PackedRecord, error_record, pack
from .request import CellRequest, request_from_json
from .wire import WireError, receive, send

__all__ = ["WorkerSetup", "main", "setup_to_json"]

Execute = Callable[[CellRequest, Path], CellRecord]


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSetup:
    """The first frame that a worker reads.

    Attributes:
        runner: process id of the runner.
        execute: `module:function` that runs one cell and returns its record.
        imports: modules imported before the first cell.
        memory_limit: bytes a cell may allocate on top of the warm worker; 0 for no limit.
        scratch: the cells' scratch directory, emptied after each of them; the runner removes it.
        fresh: run every cell in a child of its own, forked from this process, which itself runs nothing.
    """

    runner: int
    execute: str
    imports: tuple[str, ...]
    memory_limit: int
    scratch: str
    fresh: bool


def setup_to_json(setup: WorkerSetup) -> bytes:
    """Return the frame."""
    return json.dumps(asdict(setup)).encode()


def main(arguments: list[str]) -> None:
    """Serve: inherited descriptors (requests, results, output's buffer and pipe, crash file), then frames."""
    requests, results, printed, source, crash = descriptors = [int(item) for item in arguments]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - it takes no keyword
    frame = receive(requests)
    if frame is None:
        return
    setup = WorkerSetup(**json.loads(frame))
    die_with(setup.runner)
    contain(crash=crash)
    if not setup.fresh:  # its thread would not survive a fork
        output.install(printed, source)
    sys.argv[1:] = []  # a subject that reads its command line finds none
    try:
        execute = _warm(setup)
    except BaseException as error:  # noqa: BLE001 - whatever an import raises is told, for every cell
        failure = failure_of(error)
        answer = {"ready": False, "message": failure.message, "traceback": failure.traceback}
        send(results, json.dumps(answer).encode())
        return
    send(results, json.dumps({"ready": True}).encode())
    scratch = Path(setup.scratch)
    modules = len(sys.modules)
    while (frame := receive(requests)) is not None:
        request = request_from_json(frame)
        if setup.fresh:
            _answer_in_child(execute, request, scratch, results, printed, source)
            continue
        _answer(execute, request, scratch, results)
        if len(sys.modules) != modules:
            modules = len(sys.modules)
            _freeze()


def _answer(execute: Execute, request: CellRequest, scratch: Path, results: int) -> None:
    asked = os.getpid()
    packed = _run(execute, request, scratch)
    if os.getpid() != asked:  # a child that the subject forked came back from it: it has no say here
        os._exit(1)
    send(results, packed.to_frame())


def _answer_in_child(
    execute: Execute, request: CellRequest, scratch: Path, results: int, printed: int, source: int
) -> None:
    """Run one cell in a process that is as new as the imports allow; if it dies, die alike."""
    asked = os.getpid()
    child = os.fork()
    if not child:
        die_with(asked)
        output.install(printed, source)
        _answer(execute, request, scratch, results)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        die_like(status)


def _warm(setup: WorkerSetup) -> Execute:
    """Import everything, then take it out of the garbage collector's sight: trainers collect on every run."""
    for name in setup.imports:
        importlib.import_module(name)
    module, _, function = setup.execute.partition(":")
    execute: Execute = getattr(importlib.import_module(module), function)
    _freeze()
    if setup.memory_limit:
        limit_memory(setup.memory_limit)
    return execute


def _freeze() -> None:
    gc.collect()
    gc.freeze()


def _run(execute: Execute, request: CellRequest, scratch: Path) -> PackedRecord:
    """Run one cell in an empty scratch directory; whatever it raises becomes its error."""
    output.begin()
    began = time.perf_counter()
    try:
        scratch.mkdir(exist_ok=True)
        packed = _checked(request, execute(request, scratch))
    except BaseException as error:  # noqa: BLE001 - sys.exit is the subject's too, the sweep goes on
        failure = failure_of(error)
        traceback.clear_frames(error.__traceback__)  # they may hold all the memory there is
        seconds = time.perf_counter() - began
        packed = pack(error_record(request, failure, output=output.take(), seconds=seconds))
    _empty(scratch)
    return packed


def _empty(scratch: Path) -> None:
    """Remove what the cell left; an empty directory stays, for its removal costs more than a small cell."""
    try:
        used = any(scratch.iterdir())
    except OSError:
        used = True
    if used:
        shutil.rmtree(scratch, ignore_errors=True)


def _checked(request: CellRequest, record: CellRecord) -> PackedRecord:
    if record.cell_id != request.cell_id:
        raise WireError(f"the record is of cell {record.cell_id}")
    return pack(named_memory(record))


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)  # a thread that a subject left behind must not keep the worker alive
