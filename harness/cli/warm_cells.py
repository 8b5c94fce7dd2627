"""Cells of one subject, run on demand by warm workers that stay: for searches that choose a scenario by the last."""

from __future__ import annotations

import json
import selectors
import shutil
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from ...scenarios import Scenario
from ..ledger import CellError, CellRecord, Outcome
from ..running.environment import materialise, worker_variables
from ..running.handle import Worker, WorkerSpec
from ..running.packed import PackedRecord, error_record, pack
from ..running.plan import PlannedCell, SweepOptions, order_cells, refusal
from ..running.pool import PoolError
from ..running.request import CellRequest, cell_id
from ..running.scratch import scratch_directory
from ..running.store import Store
from ..subjects import Subject, suited

__all__ = ["WarmCells"]

_TICK_S: Final = 0.05
_WORTH_A_WORKER: Final = 6
"""scenarios asked for at once before one more worker is started"""


class WarmCells:
    """Runs cells of a subject; what the store has is not run again. A crash or a hang is that cell's record.

    Args:
        subject: whose cells.
        store: where records are kept.
        options: how a cell is run; `workers` is the most that are started.
    """

    def __init__(self, subject: Subject, store: Store, options: SweepOptions) -> None:
        self._subject = subject
        self._store = store
        self._options = options
        self._scratch = scratch_directory()
        self._workers: list[Worker] = []
        self._selector = selectors.DefaultSelector()
        self._spec: WorkerSpec | None = None
        self._first: CellRequest | None = None
        self._supported: dict[Scenario, str | None] = {}
        self.executed = 0
        self.seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        for worker in list(self._workers):
            worker.kill()
            self._remove(worker)
        self._selector.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def run(self, scenarios: Sequence[Scenario]) -> list[CellRecord]:
        """Return the record of each scenario, in order.

        Raises:
            PoolError: no worker can be started.
        """
        began = time.monotonic()
        requests = {scenario: self._request(scenario) for scenario in scenarios}
        records: dict[str, CellRecord] = {}
        missing: deque[CellRequest] = deque()
        for request in requests.values():
            identity = request.cell_id
            stored = self._store.get(identity)
            declined = (
                None if stored or self.supports(request.scenario) is None else refusal(request, self._subject)
            )
            if stored is not None and stored.outcome is not Outcome.ERROR:
                records[identity] = stored
            elif declined is not None:
                records[identity] = declined
            else:
                missing.append(request)
        if missing:
            done = self._execute(missing)
            self._store.put(*done)
            records |= {packed.cell_id: packed.record() for packed in done}
        self.seconds += time.monotonic() - began
        return [records[requests[scenario].cell_id] for scenario in scenarios]

    def supports(self, scenario: Scenario) -> str | None:
        """Return why the subject cannot run a scenario, or None; each is asked once."""
        if scenario not in self._supported:
            self._supported[scenario] = self._subject.supports(suited(self._subject, scenario))
        return self._supported[scenario]

    def _request(self, scenario: Scenario) -> CellRequest:
        """Return the request of a cell, under the id that a sweep would give it; versions are looked up once."""
        if self._first is None:
            order = order_cells([PlannedCell(scenario=scenario, subject=self._subject)], self._options)
            (self._first,) = order.requests.values()
        first = self._first
        scenario = suited(self._subject, scenario)
        identity = cell_id(
            scenario=scenario, subject=first.subject, versions=first.versions, device=first.device
        )
        return replace(first, cell_id=identity, scenario=scenario)

    def _execute(self, waiting: deque[CellRequest]) -> list[PackedRecord]:
        done: list[PackedRecord] = []
        wanted = len(waiting)
        while len(done) < wanted:
            while len(self._workers) < min(self._options.workers, 1 + len(waiting) // _WORTH_A_WORKER):
                self._hire()
            for worker in self._workers:
                if worker.ready and not worker.assigned and waiting:
                    worker.assign(waiting.popleft())
            for key, _ in self._selector.select(_TICK_S):
                done += self._hear(key.data)
            for worker in list(self._workers):
                done += self._watch(worker)
        self.executed += len(done)
        return done

    def _hire(self) -> None:
        if self._spec is None:
            self._spec = self._specification()
        try:
            worker = Worker(self._spec, self._scratch)
        except OSError as error:
            raise PoolError(f"cannot start a worker: {error}") from error
        self._workers.append(worker)
        self._selector.register(worker.results, selectors.EVENT_READ, worker)

    def _specification(self) -> WorkerSpec:
        subject, options = self._subject, self._options
        directory = materialise(subject.environment, options.cache_dir) if subject.environment else None
        return WorkerSpec(
            name=subject.name,
            execute=options.execute,
            imports=subject.imports,
            variables=worker_variables(subject.environment, directory),
            memory_limit=options.memory_limit,
        )

    def _hear(self, worker: Worker) -> list[PackedRecord]:
        done = []
        try:
            for frame in worker.frames():
                if not worker.ready:
                    answer = json.loads(frame)
                    if not answer["ready"]:
                        raise PoolError(f"worker {worker.spec.name} cannot start: {answer['message']}")
                    worker.ready = True
                    continue
                done.append(PackedRecord.from_frame(frame))
                worker.answered()
        except (KeyError, TypeError, ValueError) as error:
            worker.failure = CellError(
                kind="protocol", message=f"the worker's answer makes no sense: {error}"
            )
        if worker.closed or worker.failure:
            done += self._bury(worker)
        return done

    def _watch(self, worker: Worker) -> list[PackedRecord]:
        if worker not in self._workers:
            return []
        if worker.is_dead():
            heard = self._hear(worker)
            return heard + (self._bury(worker) if worker in self._workers else [])
        now = time.monotonic()
        if not worker.ready:
            if now - worker.since > self._options.start_timeout_s:
                worker.failure = CellError(kind="timeout", message="the worker did not get ready")
                return self._bury(worker)
        elif worker.busy_since is not None and now - worker.busy_since > self._options.timeout_s:
            worker.failure = CellError(
                kind="timeout", message=f"no result after {self._options.timeout_s:g} s"
            )
            worker.kill(with_traceback=True)
            return self._bury(worker)
        return []

    def _bury(self, worker: Worker) -> list[PackedRecord]:
        """Remove a worker; what it was running gets the reason as its record."""
        error = worker.post_mortem()
        if not worker.ready:
            said = worker.printed().strip() or error.traceback.strip()
            self._remove(worker)
            raise PoolError(f"worker {worker.spec.name} cannot start: {error.message}: {said[-300:]}")
        culprits = [worker.answered() for _ in range(len(worker.assigned))]
        records = [pack(error_record(culprit, error, output=worker.printed())) for culprit in culprits]
        self._remove(worker)
        return records

    def _remove(self, worker: Worker) -> None:
        self._selector.unregister(worker.results)
        self._workers.remove(worker)
        worker.close()
        shutil.rmtree(worker.scratch, ignore_errors=True)
