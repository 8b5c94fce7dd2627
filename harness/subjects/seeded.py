"""Subjects `fault@NAME` and `unusual@NAME`: the seeded trainers, which measure the harness's own power."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from typing import Any

from ...scenarios import DatasetKind, LossProtocol, Precision, Scenario, Tier, nearest
from ...scenarios.faults import FAULTS, UNUSUAL, Fault, Unusual
from ..ledger import Claims, LogEntry
from .environment import Environment
from .own import loop_arguments
from .subject import Bench, ClaimsInProgress, SubjectError, common_limits

__all__ = ["SeededLoop", "seeded_fault", "unusual_loop"]


class SeededLoop:
    """One loop of the catalogue."""

    contract = "token-mean"
    packages = ("torch", "transformers")
    imports = ("torch", "transformers.optimization")
    environment: Environment | None = None
    own_process = False
    prints_claims = False

    def __init__(self, name: str, entry: Fault | Unusual) -> None:
        self.name = name
        self._loop = entry.loop
        source = "".join(inspect.getsource(kind) for kind in entry.loop.__mro__ if kind is not object)
        self.fingerprint = hashlib.sha256(source.encode()).hexdigest()[:16]

    def supports(self, scenario: Scenario) -> str | None:
        """Sized data, a model that honours the divisor; several ranks for those that are about ranks, else one."""
        if scenario.dataset is DatasetKind.ITERABLE:
            return "dataset iterable: the seeded loops are written for sized datasets"
        if scenario.drop_last and scenario.rows < scenario.per_device_batch_size * scenario.ranks:
            return "drop_last leaves no micro-batch"
        if self._loop.on_ranks != (scenario.ranks > 1):
            return "the seeded loops of several ranks are run on several, all others on one"
        contract = self.contract if self._loop.resumes else None
        if self._loop.mixed_precision and scenario.tier is Tier.TRACE:
            return "the seeded loops of mixed precision train a real model"
        precisions = (Precision.FP16,) if self._loop.mixed_precision else (Precision.FP32,)
        return common_limits(
            scenario,
            protocols=(LossProtocol.HONOURED,),
            precisions=precisions,
            contract=contract,
            on_ranks=self._loop.on_ranks,
        )

    def train(self, bench: Bench) -> Claims:
        """Run the loop and keep what it says."""
        scenario = bench.scenario
        claimed = self._loop(
            model=bench.model,
            train_dataset=bench.train_dataset,
            eval_dataset=bench.eval_dataset,
            args=loop_arguments(scenario, Path(bench.output_dir)),
            announce=_Announcer(bench.claims),
            resume=bench.resume,
        ).run()
        made = bench.claims
        return Claims(
            global_step=claimed["global_step"],
            epoch=claimed["epoch"],
            planned_steps={"return value": claimed["planned_steps"]},
            log=tuple(made.log),
            saved_at=tuple(made.saved_at) if scenario.save_steps else None,
            evaluated_at=tuple(made.evaluated_at) if scenario.eval_steps else None,
            input_tokens=claimed["num_input_tokens_seen"],
        )


class _Announcer:
    """Passes a seeded loop's words on to the ledger."""

    def __init__(self, claims: ClaimsInProgress) -> None:
        self._claims = claims

    def logged(self, entry: dict[str, Any]) -> None:
        entry = dict(entry)
        self._claims.logged(LogEntry(global_step=entry.pop("step"), **entry))

    def saved(self, global_step: int) -> None:
        self._claims.saved(global_step)

    def evaluated(self, global_step: int) -> None:
        self._claims.evaluated(global_step)


def seeded_fault(name: str) -> SeededLoop:
    """Return the subject `fault@name`."""
    if name not in FAULTS:
        raise SubjectError(f"there is no seeded fault {name!r}{nearest(name, FAULTS)}")
    return SeededLoop(f"fault@{name}", FAULTS[name])


def unusual_loop(name: str) -> SeededLoop:
    """Return the subject `unusual@name`."""
    if name not in UNUSUAL:
        raise SubjectError(f"there is no unusual loop {name!r}{nearest(name, UNUSUAL)}")
    return SeededLoop(f"unusual@{name}", UNUSUAL[name])
