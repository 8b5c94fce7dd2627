"""The sweep: what is missing runs, what is stored is reused, every moment is an event. It formats no text."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ..ledger import CellError, Outcome
from .environment import (
    EnvironmentFailedError,
    interpreter,
    is_ready,
    materialise,
    scrubbed_variables,
    worker_variables,
)
from .events import (
    Agreement,
    CellFinished,
    CellRepeated,
    CellReused,
    EnvironmentPreparing,
    EnvironmentReady,
    EnvironmentUnavailable,
    RecordsDamaged,
    SweepEvent,
    SweepFinished,
    SweepStarted,
    WaitingForOtherRun,
)
from .handle import WorkerSpec
from .packed import PackedRecord, error_record, pack
from .plan import PlannedCell, SweepOptions, order_cells, refusal
from .pool import Group, Pool, PoolError, PoolLimits
from .ranks import LAUNCHER
from .request import CellRequest, is_repeated
from .scratch import scratch_directory
from .store import Store, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from ..subjects import Subject
    from ..subjects.environment import Environment

__all__ = ["Handler", "run_sweep"]

Handler = Callable[[SweepEvent], None]

_WAIT_S: Final = 0.2
"""between two looks at what another run on the same store has finished"""


def run_sweep(
    plan: Iterable[PlannedCell], store: Store, options: SweepOptions, handler: Handler
) -> SweepFinished:
    """Run what the store lacks of the plan and return the totals, which are also the last event.

    Errors are stored, and run again by the next sweep over the same plan; completed and unsupported cells are
    reused. Two sweeps at once on one store share the work.

    Raises:
        KeyboardInterrupt: after the last event; all workers are gone and the store is valid.
        StoreError: the store cannot be written; what was committed stays.
        PoolError: no worker can be started at all.
    """
    sweep = _Sweep(plan, store, options, handler)
    try:
        return sweep.run()
    except KeyboardInterrupt:
        sweep.finish(interrupted=True)
        raise
    finally:
        sweep.close()


class _Sweep:
    def __init__(
        self, plan: Iterable[PlannedCell], store: Store, options: SweepOptions, handler: Handler
    ) -> None:
        self._store = store
        self._options = options
        self._emit = handler
        self._began = time.monotonic()
        self._order = order_cells(plan, options)
        self._counts = dict.fromkeys(Outcome, 0)
        self._reused = self._repeated = self._differing = 0
        self._directories: dict[str, Path | EnvironmentFailedError] = {}
        try:
            self._scratch = scratch_directory()
        except OSError as error:
            raise PoolError(f"cannot make a scratch directory: {error}") from error
        limits = PoolLimits(
            start_s=options.start_timeout_s, resident=options.memory_limit, growth=options.growth_limit
        )
        self._pool = Pool(size=options.workers, scratch=self._scratch, limits=limits, emit=handler)

    def run(self) -> SweepFinished:
        missing = self._survey()
        self._run_all(missing, repeat=False)
        self._run_all(self._to_repeat(), repeat=True)
        return self.finish(interrupted=False)

    def finish(self, *, interrupted: bool) -> SweepFinished:
        finished = SweepFinished(
            completed=self._counts[Outcome.COMPLETED],
            errors=self._counts[Outcome.ERROR],
            unsupported=self._counts[Outcome.UNSUPPORTED],
            reused=self._reused,
            repeated=self._repeated,
            differing=self._differing,
            seconds=time.monotonic() - self._began,
            interrupted=interrupted,
        )
        self._emit(finished)
        return finished

    def close(self) -> None:
        self._pool.close()
        with suppress(StoreError):  # the error that ended the sweep is the one to tell
            self._store.release_all()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _survey(self) -> list[CellRequest]:
        """Record what is declined, report what is stored, return what is missing."""
        survey = self._store.survey()
        declined, reused, missing = [], [], []
        for identity, request in self._order.requests.items():
            stored = survey.outcomes.get(identity, Outcome.ERROR)
            if stored is not Outcome.ERROR:
                reused.append(identity)
            elif (record := refusal(request, self._order.subjects[identity])) is not None:
                declined.append(pack(record))
            else:
                missing.append(request)
        self._emit(
            SweepStarted(
                cells=len(self._order.requests),
                elsewhere=self._order.elsewhere,
                declined=len(declined),
                reused=len(reused),
                workers=self._options.workers,
                scrubbed=scrubbed_variables(os.environ),
            )
        )
        if survey.damaged:
            self._emit(RecordsDamaged(cell_ids=tuple(sorted(survey.damaged))))
            self._store.discard(survey.damaged)
        for identity in reused:
            self._reuse(identity, survey.outcomes[identity])
        self._store.put(*declined)
        for packed in declined:
            self._count(packed)
        return missing

    def _to_repeat(self) -> list[CellRequest]:
        """Return the cells due for a fresh process: picked by their hash, completed, not repeated."""
        fraction = self._options.fresh_fraction
        picked = [
            request for identity, request in self._order.requests.items() if is_repeated(identity, fraction)
        ]
        if not picked:
            return []
        survey = self._store.survey()
        return [
            request
            for request in picked
            if survey.outcomes.get(request.cell_id) is Outcome.COMPLETED
            and request.cell_id not in survey.repeated
        ]

    def _run_all(self, requests: Sequence[CellRequest], *, repeat: bool) -> None:
        """Run the requests; those that another run is at are waited for, and run here if it dies."""
        while requests:
            elsewhere: list[CellRequest] = []
            for packed in self._pool.run(self._groups(requests, elsewhere, repeat=repeat)):
                self._keep(packed, repeat=repeat)
            requests = self._wait_for(elsewhere, repeat=repeat)

    def _groups(
        self, requests: Sequence[CellRequest], elsewhere: list[CellRequest], *, repeat: bool
    ) -> list[Group]:
        """Sort requests by the worker they need; answer those whose environment cannot be made."""

        def claim(block: list[CellRequest]) -> list[CellRequest]:
            granted = self._store.lease([request.cell_id for request in block], repeat=repeat)
            elsewhere.extend(request for request in block if request.cell_id not in granted)
            return [request for request in block if request.cell_id in granted]

        members: dict[str, list[CellRequest]] = {}
        for request in requests:
            subject = self._order.subjects[request.cell_id]
            alone = subject.name if subject.own_process else ""
            on_ranks = request.scenario.ranks > 1  # they fork from a worker that has run no subject itself
            members.setdefault(f"{subject.environment!r} {alone} {on_ranks} {request.device}", []).append(
                request
            )
        groups = []
        for cells in members.values():
            subjects = {cell.subject: self._order.subjects[cell.cell_id] for cell in cells}
            directory = self._directory(next(iter(subjects.values())).environment)
            if isinstance(directory, EnvironmentFailedError):
                error = CellError(kind="environment", message=str(directory))
                for cell in claim(cells):
                    self._keep(pack(error_record(cell, error)), repeat=repeat)
            else:
                spec = self._spec(list(subjects.values()), cells[0], directory, repeat=repeat)
                groups.append(Group(spec, cells, claim))
        return groups

    def _spec(
        self, subjects: list[Subject], sample: CellRequest, directory: Path | None, *, repeat: bool
    ) -> WorkerSpec:
        """Return the worker of a group; `sample` is one of its cells, alike in ranks and device."""
        on_cpu = sample.device == "cpu"
        first = subjects[0]
        name = first.environment.name if first.environment else "base"
        if first.own_process:
            name = f"{name} {first.name}"
        imports = dict.fromkeys(module for subject in subjects for module in subject.imports)
        if sample.scenario.ranks > 1:
            name = f"{name} on ranks"
            imports |= dict.fromkeys(LAUNCHER)
        return WorkerSpec(
            name=f"{name} (fresh)" if repeat else name,
            execute=self._options.execute,
            imports=tuple(imports),
            variables=worker_variables(first.environment, directory, on_cpu=on_cpu),
            memory_limit=self._options.memory_limit if on_cpu else 0,
            fresh=repeat,
            python=interpreter(first.environment, directory),
        )

    def _directory(self, environment: Environment | None) -> Path | EnvironmentFailedError | None:
        """Return the environment's directory, or why it cannot be made; asked once a sweep."""
        if environment is None:
            return None
        known = self._directories.get(environment.key)
        if known is None:
            if not is_ready(environment, self._options.cache_dir):
                self._emit(EnvironmentPreparing(name=environment.name, requirements=environment.requirements))
            try:
                known = materialise(environment, self._options.cache_dir)
                self._emit(EnvironmentReady(name=environment.name, directory=known))
            except EnvironmentFailedError as error:
                known = error
                self._emit(EnvironmentUnavailable(name=environment.name, message=str(error)))
            self._directories[environment.key] = known
        return known

    def _wait_for(self, elsewhere: list[CellRequest], *, repeat: bool) -> list[CellRequest]:
        """Return those of another run's cells that it left undone; report those that it finished."""
        if elsewhere:
            self._emit(WaitingForOtherRun(cells=len(elsewhere)))
        undone = []
        for request in elsewhere:
            while self._store.is_leased(request.cell_id, repeat=repeat):
                time.sleep(_WAIT_S)
            if repeat:
                continue
            stored = self._store.packed(request.cell_id)
            if stored is None or stored.outcome is Outcome.ERROR:
                undone.append(request)
            else:
                self._reuse(request.cell_id, stored.outcome)
        return undone

    def _keep(self, packed: PackedRecord, *, repeat: bool) -> None:
        """Commit a result, then tell."""
        if repeat:
            self._store.put_repeat(packed)
            self._compare(packed)
        else:
            self._store.put(packed)
            self._count(packed)

    def _compare(self, packed: PackedRecord) -> None:
        """Say whether a second ledger agrees with the first one."""
        first = self._store.get(packed.cell_id)
        agreement = Agreement.ERROR
        if packed.outcome is not Outcome.ERROR and first is not None:
            same = first.digest() == packed.record().digest()
            agreement = Agreement.SAME if same else Agreement.DIFFERENT
        self._repeated += 1
        self._differing += agreement is Agreement.DIFFERENT
        request = self._order.requests[packed.cell_id]
        self._emit(
            CellRepeated(
                cell_id=packed.cell_id,
                scenario=request.scenario,
                subject=request.subject,
                agreement=agreement,
                packed=packed,
            )
        )

    def _count(self, packed: PackedRecord) -> None:
        self._counts[packed.outcome] += 1
        request = self._order.requests[packed.cell_id]
        self._emit(
            CellFinished(
                cell_id=packed.cell_id,
                scenario=request.scenario,
                subject=request.subject,
                outcome=packed.outcome,
                packed=packed,
            )
        )

    def _reuse(self, identity: str, outcome: Outcome) -> None:
        self._reused += 1
        request = self._order.requests[identity]
        self._emit(
            CellReused(cell_id=identity, scenario=request.scenario, subject=request.subject, outcome=outcome)
        )
