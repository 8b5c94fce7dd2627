"""The pool: as many workers as there are cores, every cell answered once, whatever becomes of its worker."""

from __future__ import annotations

import json
import selectors
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ..ledger import CellError
from .events import CellStarted, SweepEvent, WorkerLost, WorkerReady, WorkerRecycled, WorkerStarted
from .handle import Worker, WorkerSpec
from .packed import PackedRecord, error_record, pack
from .request import CellRequest

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Claim", "Group", "Pool", "PoolError", "PoolLimits"]

Claim = Callable[[list[CellRequest]], list[CellRequest]]
"""takes requests that are about to run and returns those that may; the rest is somebody else's"""

_TICK_S: Final = 0.1
_CLAIMED_AT_ONCE: Final = 16
AHEAD: Final = 2
"""a worker reads its next request while the runner stores the last result"""
_WORTH_A_START: Final = 8
"""cells left for each worker of a group before one more start pays, while nobody knows what a cell takes"""
_START_ATTEMPTS: Final = 2


class PoolError(RuntimeError):
    """Workers cannot be started at all; one line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolLimits:
    """What a worker may take.

    Attributes:
        start_s: seconds for its imports.
        resident: bytes that worker and children may hold beyond the warm worker; 0 for no limit.
        growth: bytes that it may have grown between cells before it is replaced.
    """

    start_s: float
    resident: int
    growth: int


class Group:
    """Cells that can share workers, in the order in which they run."""

    def __init__(self, spec: WorkerSpec, requests: Iterable[CellRequest], claim: Claim) -> None:
        self.spec = spec
        self.failed_starts = 0
        self.start_s = 0.0
        self._answers = 0
        self._busy_s = 0.0
        self._waiting = deque(requests)
        self._claimed: deque[CellRequest] = deque()
        self._claim = claim

    @property
    def remaining(self) -> int:
        """Cells that no worker has."""
        return len(self._waiting) + len(self._claimed)

    def answered(self, seconds: float) -> None:
        """Learn what a cell takes."""
        self._answers += 1
        self._busy_s += seconds

    def pays(self, staff: int) -> bool:
        """Return whether one more worker beside `staff` others is worth its start."""
        if not staff or not self._answers:
            return self.remaining > _WORTH_A_START * staff
        return self.remaining * self._busy_s / self._answers / staff > self.start_s

    def take(self) -> CellRequest | None:
        """Return the next cell that this run may run."""
        while not self._claimed and self._waiting:
            block = [self._waiting.popleft() for _ in range(min(_CLAIMED_AT_ONCE, len(self._waiting)))]
            self._claimed.extend(self._claim(block))
        return self._claimed.popleft() if self._claimed else None

    def give_back(self, requests: Iterable[CellRequest]) -> None:
        """Put cells that a lost worker had not begun back to the front."""
        self._claimed.extendleft(reversed(list(requests)))


class _Hired(Worker):
    """A worker with its place in the pool."""

    def __init__(self, group: Group, scratch: Path) -> None:
        super().__init__(group.spec, scratch)
        self.group = group
        self.warm_resident = 0
        self.measured = 0.0
        self.dismissed = False
        """gets no further cell"""
        self.spoiled = False
        """gets replaced at once"""


class Pool:
    """Runs groups of cells on `size` workers.

    It is one thread: everything happens inside `run`. Workers die with the thread that started them, so the
    thread that iterates must live as long as the pool.
    """

    def __init__(
        self, *, size: int, scratch: Path, limits: PoolLimits, emit: Callable[[SweepEvent], None]
    ) -> None:
        self._size = size
        self._scratch = scratch
        self._limits = limits
        self._emit = emit
        self._workers: list[_Hired] = []
        self._selector = selectors.DefaultSelector()
        self._done: deque[PackedRecord] = deque()
        self._watched = 0.0

    def run(self, groups: Iterable[Group]) -> Iterator[PackedRecord]:
        """Yield one record for every cell that was claimed, as they come."""
        groups = list(groups)
        while True:
            self._staff(groups)
            while self._done:
                yield self._done.popleft()
            if not self._workers and not any(group.remaining for group in groups):
                return
            for key, _ in self._selector.select(_TICK_S):
                self._hear(key.data)
            if time.monotonic() - self._watched >= _TICK_S:
                self._watched = time.monotonic()
                for worker in list(self._workers):
                    self._watch(worker)

    def close(self) -> None:
        """End all workers at once; the cells they were running are as if they had never begun."""
        for worker in list(self._workers):
            worker.kill()
            self._remove(worker)
        self._selector.close()

    def _staff(self, groups: list[Group]) -> None:
        """Hand out cells, let idle workers go, start workers where cells are waiting."""
        for worker in list(self._workers):
            if not worker.ready:
                continue
            self._feed(worker)
            if not worker.assigned:
                self._let_go(worker)
        while len(self._workers) < self._size and (group := self._neediest(groups)) is not None:
            try:
                worker = _Hired(group, self._scratch)
            except OSError as error:
                raise PoolError(f"cannot start a worker: {error}") from error
            self._workers.append(worker)
            self._selector.register(worker.results, selectors.EVENT_READ, worker)
            self._emit(WorkerStarted(group=group.spec.name, pid=worker.pid))

    def _feed(self, worker: _Hired) -> None:
        ahead = AHEAD if worker.group.remaining > 2 * self._size else 1
        while not worker.dismissed and len(worker.assigned) < ahead:
            request = worker.group.take()
            if request is None:
                return
            worker.assign(request)
            if len(worker.assigned) == 1:
                self._announce(worker)

    def _neediest(self, groups: list[Group]) -> Group | None:
        """Return the group for a free place: those without a worker need one start anyway, so they are first."""
        staff = {id(group): sum(worker.group is group for worker in self._workers) for group in groups}
        waiting = [group for group in groups if group.remaining and group.pays(staff[id(group)])]

        def need(group: Group) -> tuple[bool, float]:
            here = staff[id(group)]
            return not here, group.remaining / (here + 1)

        return max(waiting, key=need, default=None)

    def _hear(self, worker: _Hired) -> None:
        """Read what a worker says; bury it when it has nothing more to say or talks nonsense."""
        if worker not in self._workers:
            return
        try:
            for frame in worker.frames():
                self._understand(worker, frame)
        except (KeyError, TypeError, ValueError) as error:
            worker.failure = CellError(
                kind="protocol", message=f"the worker's answer makes no sense: {error}"
            )
        if worker.closed or worker.failure:
            self._bury(worker)
        elif worker.spoiled:
            self._replace(worker)

    def _understand(self, worker: _Hired, frame: bytes) -> None:
        if not worker.ready:
            answer = json.loads(frame)
            if not answer["ready"]:
                worker.failure = CellError(
                    kind="exception", message=answer["message"], traceback=answer["traceback"]
                )
                return
            worker.ready = True
            worker.group.failed_starts = 0
            worker.warm_resident = worker.resident()
            worker.group.start_s = time.monotonic() - worker.since
            self._emit(WorkerReady(group=worker.spec.name, pid=worker.pid, seconds=worker.group.start_s))
            return
        packed = PackedRecord.from_frame(frame)
        if not worker.assigned or packed.cell_id != worker.assigned[0].cell_id:
            raise ValueError(f"a record of cell {packed.cell_id[:16]} that it is not running")
        worker.group.answered(time.monotonic() - worker.since)
        worker.answered()
        self._done.append(packed)
        if worker.assigned:
            self._announce(worker)
        if packed.error_kind == "memory":
            worker.spoiled = True
        elif time.monotonic() - worker.measured > _TICK_S:
            worker.measured = time.monotonic()
            worker.dismissed |= worker.resident() - worker.warm_resident > self._limits.growth

    def _watch(self, worker: _Hired) -> None:
        """Find the dead, the hanging and the greedy."""
        if worker.is_dead():
            self._hear(worker)
            if worker in self._workers:
                self._bury(worker)
            return
        now = time.monotonic()
        if not worker.ready:
            if now - worker.since > self._limits.start_s:
                self._stop(worker, "timeout", f"the worker was not ready after {self._limits.start_s:g} s")
        elif worker.busy_since is not None:
            timeout = worker.assigned[0].timeout_s
            resident = worker.resident() - worker.warm_resident
            if now - worker.busy_since > timeout:
                self._stop(worker, "timeout", f"no result after {timeout:g} s")
            elif 0 < self._limits.resident < resident:
                held, limit = resident / 2**30, self._limits.resident / 2**30
                message = f"the worker held {held:.2f} GiB beyond the warm worker, limit {limit:.2f}"
                self._stop(worker, "memory", message)

    def _stop(self, worker: _Hired, kind: str, message: str) -> None:
        """Kill a worker for what its running cell does, unless the result is in the pipe already."""
        before = len(self._done)
        self._hear(worker)
        if worker in self._workers and len(self._done) == before:
            worker.failure = CellError(kind=kind, message=message)
            worker.kill(with_traceback=True)
            self._bury(worker)

    def _bury(self, worker: _Hired) -> None:
        """Blame the running cell, give the next one back, make room for a new worker."""
        error = worker.post_mortem()
        seconds = time.monotonic() - worker.since
        culprit = worker.answered() if worker.ready and worker.assigned else None
        if culprit is not None:
            record = error_record(culprit, error, output=worker.printed(), seconds=seconds)
            self._done.append(pack(record))
        elif not worker.ready:
            worker.group.failed_starts += 1
            if error.kind == "exception" or worker.group.failed_starts >= _START_ATTEMPTS:
                said = worker.printed().strip()
                message = f"worker {worker.spec.name} cannot start: {error.message}"
                self._give_up(
                    worker.group, replace(error, message=message, traceback=error.traceback or said)
                )
        self._emit(
            WorkerLost(
                group=worker.spec.name,
                pid=worker.pid,
                cell_id=culprit.cell_id if culprit else None,
                error=error,
            )
        )
        self._replace(worker)

    def _give_up(self, group: Group, error: CellError) -> None:
        """Answer every waiting cell of a group whose workers cannot start with the reason."""
        while (request := group.take()) is not None:
            self._done.append(pack(error_record(request, error)))

    def _let_go(self, worker: _Hired) -> None:
        """End an idle worker: its group has nothing for it, or it has grown."""
        if worker.dismissed:
            self._emit(WorkerRecycled(group=worker.spec.name, pid=worker.pid, resident=worker.resident()))
        self._replace(worker)

    def _replace(self, worker: _Hired) -> None:
        worker.kill()
        worker.group.give_back(worker.assigned)
        self._remove(worker)

    def _remove(self, worker: _Hired) -> None:
        self._workers.remove(worker)
        self._selector.unregister(worker.results)
        worker.close()
        shutil.rmtree(worker.scratch, ignore_errors=True)

    def _announce(self, worker: _Hired) -> None:
        request = worker.assigned[0]
        self._emit(
            CellStarted(
                cell_id=request.cell_id, scenario=request.scenario, subject=request.subject, pid=worker.pid
            )
        )
