"""One worker process, seen from the runner: start, hand over requests, read results, find out how it died."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..ledger import CellError
from .containment import DUMP_SIGNAL
from .output import BUFFER_BYTES, Buffer, widen
from .request import CellRequest, request_to_json
from .wire import Inbox, send
from .worker import WorkerSetup, setup_to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Worker", "WorkerSpec"]

_CRASH_BYTES = 64 * 1024
_DUMP_PATIENCE_S = 1.0
_DUMP_SETTLED_S = 0.1
"""without a further word, after the first: on a busy machine the second process speaks later"""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSpec:
    """What makes two cells able to share a worker.

    Attributes:
        name: for people and events.
        execute: `module:function` that runs a cell.
        imports: modules to import before the first cell.
        variables: the whole environment block of the process.
        memory_limit: bytes a cell may allocate on top of the warm worker; 0 for no limit.
        fresh: every cell gets a process of its own, forked from one that runs none.
        python: the interpreter.
    """

    name: str
    execute: str
    imports: tuple[str, ...]
    variables: dict[str, str] = field(repr=False)
    memory_limit: int = 0
    fresh: bool = False
    python: str = sys.executable


class Worker:
    """A live worker process and what the runner knows about it.

    Attributes:
        results: descriptor to select on.
        assigned: requests that were sent and not answered, in order; the first one is running.
        since: monotonic time at which the worker was started or its running cell began.
        ready: the imports are done.
        closed: the worker has closed its end of the results.
        failure: why the runner ends it, where the exit code alone would not say.
    """

    def __init__(self, spec: WorkerSpec, scratch: Path) -> None:
        self.spec = spec
        self.assigned: deque[CellRequest] = deque()
        self.ready = False
        self.closed = False
        self.failure: CellError | None = None
        self.since = time.monotonic()
        self._inbox = Inbox()
        self._oom_kills = _oom_kills()
        self.scratch = Path(tempfile.mkdtemp(prefix="worker-", dir=scratch))
        self._buffer = _shared_memory("printed", BUFFER_BYTES)
        self._crash = _shared_memory("crash", 0)
        self._source, sink = os.pipe()
        widen(sink)
        requests, self._requests = os.pipe()
        self.results, results = os.pipe()
        for descriptor in (self.results, self._source):
            os.set_blocking(descriptor, False)
        inherited = (requests, results, self._buffer, self._source, self._crash)
        command = [spec.python, "-P", "-m", "stepaudit.harness.running.worker", *map(str, inherited)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                env=spec.variables,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                pass_fds=inherited,
                start_new_session=True,
            )
        finally:
            for descriptor in (requests, results, sink):
                os.close(descriptor)
        setup = WorkerSetup(
            runner=os.getpid(),
            execute=spec.execute,
            imports=spec.imports,
            memory_limit=spec.memory_limit,
            scratch=str(self.scratch),
            fresh=spec.fresh,
        )
        with contextlib.suppress(BrokenPipeError):  # it died at once; its end of the results says so
            send(self._requests, setup_to_json(setup))

    @property
    def pid(self) -> int:
        """Process id, also the id of its process group."""
        return self._process.pid

    @property
    def busy_since(self) -> float | None:
        """When the running cell began, or None while the worker starts or idles."""
        return self.since if self.ready and self.assigned else None

    def assign(self, request: CellRequest) -> None:
        """Send a request; the worker reads it when it has answered the ones before."""
        if not self.assigned:
            self.since = time.monotonic()
        self.assigned.append(request)
        with contextlib.suppress(BrokenPipeError):
            send(self._requests, request_to_json(request))

    def answered(self) -> CellRequest:
        """Take the running request off the list; the next one begins now."""
        self.since = time.monotonic()
        return self.assigned.popleft()

    def frames(self) -> Iterator[bytes]:
        """Yield the frames that have arrived, without blocking; sets `closed` at the end of the stream."""
        while True:
            try:
                chunk = os.read(self.results, 1 << 18)
            except BlockingIOError:
                return
            if not chunk:
                self.closed = True
                return
            yield from self._inbox.feed(chunk)

    def is_dead(self) -> bool:
        """Return whether the process has ended (a child of it may still hold the results open)."""
        return self._process.poll() is not None

    def resident(self) -> int:
        """Return the resident bytes of the worker and all that it has started; 0 when it is gone."""
        return sum(_resident(pid) for pid in (self.pid, *_descendants(self.pid)))

    def kill(self, *, with_traceback: bool = False) -> None:
        """End the worker, its process group and those below it; `with_traceback` lets it say first where it is."""
        if with_traceback and not self.is_dead():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, DUMP_SIGNAL)
            self._await_dumps()
        for group in {self.pid, *_groups(_descendants(self.pid))}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        self._process.wait()

    def _await_dumps(self) -> None:
        """Wait until the dumps are written: the worker's, and that of the child in which a fresh cell runs."""
        size = began = os.fstat(self._crash).st_size
        now = time.monotonic()
        until, grew = now + _DUMP_PATIENCE_S, now
        while now < until and (size == began or now < grew + _DUMP_SETTLED_S):
            time.sleep(0.01)
            now = time.monotonic()
            if (found := os.fstat(self._crash).st_size) != size:
                size, grew = found, now

    def printed(self) -> str:
        """Return what the dead worker printed last: while it started, or in the cell it was running."""
        buffer = Buffer(self._buffer)
        buffer.pour(self._source)
        return buffer.text()

    def traceback(self) -> str:
        """Return the worker's last words: faulthandler's dump."""
        return os.pread(self._crash, _CRASH_BYTES, 0).decode(errors="replace")

    def post_mortem(self) -> CellError:
        """Kill what is left of the process group and return why the worker ended."""
        try:
            self._process.wait(timeout=0 if self.failure else 1.0)
        except subprocess.TimeoutExpired:
            if self.failure is None:
                self.failure = CellError(
                    kind="protocol", message="worker closed its results and went on running"
                )
        self.kill()
        if self.failure is not None:
            return replace(self.failure, traceback=self.failure.traceback or self.traceback())
        code = self._process.returncode
        if code >= 0:
            return CellError(
                kind="exit", message=f"worker exited with code {code}", traceback=self.traceback()
            )
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        kind = "killed"
        if name == "SIGKILL" and _oom_kills() > self._oom_kills:
            kind, name = "memory", "SIGKILL while the kernel was out of memory"
        return CellError(kind=kind, message=f"worker killed by {name}", traceback=self.traceback())

    def close(self) -> None:
        """Release everything; the process is gone."""
        for descriptor in (self._requests, self.results, self._source, self._buffer, self._crash):
            os.close(descriptor)


def _shared_memory(name: str, size: int) -> int:
    descriptor = os.memfd_create(f"stepaudit-{name}")
    os.ftruncate(descriptor, size)
    return descriptor


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    return 0


def _descendants(pid: int) -> Iterator[int]:
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, listed.read_text(encoding="ascii").split()):
                yield child
                yield from _descendants(child)


def _groups(pids: Iterable[int]) -> Iterator[int]:
    """Yield the process groups that these processes lead or are in: ranks have one of their own."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            yield os.getpgid(pid)


def _oom_kills() -> int:
    """Return how many processes the kernel has killed for memory since it booted."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
