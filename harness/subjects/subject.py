"""The protocol of a subject, and the bench it is given. No torch here: the parent process reads it too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ...scenarios import LossProtocol, LrSchedule, ModelKind, Precision, Scenario, Tier
from ..contract import contract_named, terms_of
from ..ledger import Claims, LogEntry
from .environment import Environment

__all__ = [
    "MODEL_LOSS",
    "Bench",
    "ClaimsInProgress",
    "Subject",
    "SubjectError",
    "common_limits",
    "schedule_limits",
    "suited",
    "trainer_limits",
]


MODEL_LOSS = (LossProtocol.NONE, LossProtocol.HONOURED, LossProtocol.IGNORED)
"""the loss protocols of a loop that takes its loss from the model"""


class SubjectError(ValueError):
    """A subject that does not exist or cannot be loaded; the message shows its name and the nearest valid one."""


@dataclass(kw_only=True)
class ClaimsInProgress:
    """The claims while a run makes them; a subject's hooks call these methods at the moment of the claim.

    `recorder` is told too, so that the ledger shows each claim at its place.
    """

    recorder: Any
    log: list[LogEntry] = field(default_factory=list)
    saved_at: list[int] = field(default_factory=list)
    evaluated_at: list[int] = field(default_factory=list)

    def logged(self, entry: LogEntry) -> None:
        """The trainer wrote a log entry that carries a loss, a rate or a norm."""
        self.log.append(entry)
        self.recorder.logged(entry)

    def saved(self, global_step: int) -> None:
        """The trainer wrote a checkpoint."""
        self.saved_at.append(global_step)
        self.recorder.saved(global_step)

    def rewind(self, global_step: int) -> None:
        """Forget what was claimed after a checkpoint: the run was interrupted and goes on from there."""
        self.log[:] = [
            entry for entry in self.log if entry.global_step is None or entry.global_step <= global_step
        ]
        self.saved_at[:] = [at for at in self.saved_at if at <= global_step]
        self.evaluated_at[:] = [at for at in self.evaluated_at if at <= global_step]

    def evaluated(self, global_step: int) -> None:
        """The trainer ended an evaluation."""
        self.evaluated_at.append(global_step)


def _nobody(what: Any) -> None:
    """What is adopted where nothing watches."""
    del what


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What a subject trains on, already watched by the probes.

    Attributes:
        scenario: what is asked for.
        model: a `PreTrainedModel`; `train_dataset` and `eval_dataset` yield dicts of tensors that
            `default_collate` can stack.
        output_dir: an empty directory, removed after the cell.
        claims: where the subject's hooks write what the trainer says along the way.
        resume: go on from the newest checkpoint in `output_dir`, by the trainer's own means.
        adopt: is told of the dataset that is really trained on, where it is made of `train_dataset` (`datasets`,
            packing); its batches have `input_ids`.
        adopt_model: is told of the model that is really trained, where the trainer's library has to make it; with the
            parameters of `model` by name and value.
    """

    scenario: Scenario
    model: Any
    train_dataset: Any
    eval_dataset: Any
    output_dir: Path
    claims: ClaimsInProgress
    resume: bool = False
    adopt: Callable[[Any], None] = _nobody
    adopt_model: Callable[[Any], None] = _nobody


@runtime_checkable
class Subject(Protocol):
    """A training loop under audit.

    One that computes its loss from the parts of a real model has `takes_tracer = False` besides, and `model` where it
    is another than the tiny Llama: `suited`.

    Attributes:
        name: as the user writes it, e.g. `unsloth-zoo@2026.10.5` or `my_trainer.py:train`.
        contract: name of the contract that its documentation promises.
        packages: distributions whose versions identify it.
        imports: modules that a worker imports once, before its first cell.
        environment: wheels laid over the base environment, or None.
        own_process: whether it patches libraries at import and needs workers of its own.
        prints_claims: whether it announces its totals only in what it prints.
        fingerprint: hash of the loop's own source where no package version identifies it; else empty.
    """

    @property
    def name(self) -> str:
        """See above."""

    @property
    def contract(self) -> str:
        """See above."""

    @property
    def packages(self) -> tuple[str, ...]:
        """See above."""

    @property
    def imports(self) -> tuple[str, ...]:
        """See above."""

    @property
    def environment(self) -> Environment | None:
        """See above."""

    @property
    def own_process(self) -> bool:
        """See above."""

    @property
    def fingerprint(self) -> str:
        """See above."""

    @property
    def prints_claims(self) -> bool:
        """See above."""

    def supports(self, scenario: Scenario) -> str | None:
        """Return why this pairing cannot be run, or None if it can. Imports nothing heavy."""

    def train(self, bench: Bench) -> Claims:
        """Train as the scenario asks and return what the trainer claims."""


def suited(subject: Subject, scenario: Scenario) -> Scenario:
    """Return the scenario as this subject can be asked for it.

    A trainer that takes no tracer trains a tiny Llama instead, with weights by projection; nothing else changes.
    """
    if scenario.model is not ModelKind.TRACER or getattr(subject, "takes_tracer", True):
        return scenario
    return scenario.with_(tier=Tier.NUMERIC, model=getattr(subject, "model", ModelKind.TINY_LLAMA))


def common_limits(
    scenario: Scenario,
    *,
    protocols: tuple[LossProtocol, ...] = tuple(LossProtocol),
    precisions: tuple[Precision, ...] = (Precision.FP32, Precision.BF16),
    contract: str | None = None,
    on_ranks: bool = False,
) -> str | None:
    """Return a limit that several subjects share, or None.

    Args:
        scenario: what is asked for.
        protocols: the loss protocols that the subject's loop can be paired with.
        precisions: those that it can train in on a CPU.
        contract: names the contract that says how long a run is, where the subject can resume one; None where not.
        on_ranks: whether the subject trains on several ranks, where torchrun has started them.
    """
    if scenario.ranks > 1 and (reason := _rank_limit(scenario, on_ranks=on_ranks)):
        return reason
    if scenario.resume_at is not None and (reason := _resume_limit(scenario, contract)):
        return reason
    if scenario.loss_protocol not in protocols:
        return f"loss protocol {scenario.loss_protocol.value}: the loop takes its loss from the model"
    if scenario.tier is Tier.TRACE and scenario.precision is not Precision.FP32:
        return f"precision {scenario.precision.value}: the tracer's books are exact in float64 only"
    if scenario.precision not in precisions:
        return f"precision {scenario.precision.value}: refused on a CPU"
    return None


def _rank_limit(scenario: Scenario, *, on_ranks: bool) -> str | None:
    if not on_ranks:
        return f"ranks {scenario.ranks}: the loop trains in one process only"
    if scenario.tier is not Tier.TRACE:
        return f"ranks {scenario.ranks}: weights by projection need the rows of all ranks in one process"
    if scenario.resume_at is not None:
        return f"ranks {scenario.ranks}: resumption is audited on one rank only"
    return None


def _resume_limit(scenario: Scenario, contract: str | None) -> str | None:
    at, T = (
        scenario.resume_at or 0,
        None if contract is None else terms_of(scenario, contract_named(contract)).T,
    )
    if T is None:
        return "no resume"
    if at >= T:
        return f"resume_at {at}: the run ends after optimizer step {T}, there is nothing to interrupt"
    if scenario.save_steps > at:
        return (
            f"resume_at {at}: with save_steps {scenario.save_steps} there is no checkpoint to go on from yet"
        )
    return None


def schedule_limits(scenario: Scenario, contract: str) -> str | None:
    """Return why `transformers.get_scheduler` cannot carry this run to its end, or None.

    Its polynomial schedule divides by T - warmup at position T, which it reaches in the advance after the last
    update (transformers/optimization.py, 5.x). A loop with a schedule of its own has no such limit.
    """
    T = terms_of(scenario, contract_named(contract)).T
    if scenario.lr_schedule is LrSchedule.POLYNOMIAL and scenario.warmup_steps == T:
        return f"lr_schedule polynomial with warmup_steps = T = {T}: transformers' schedule divides by T - warmup_steps"
    return None


def trainer_limits(scenario: Scenario, contract: str) -> str | None:
    """Return why `transformers.Trainer` cannot carry this run to its end, or None: `schedule_limits` and one more.

    Asked for max_steps=0 it plans no update, and makes one all the same.
    """
    if scenario.max_steps == 0 and scenario.lr_schedule is LrSchedule.POLYNOMIAL:
        return "max_steps 0 with lr_schedule polynomial: Trainer plans 0 updates, and the schedule divides by them"
    return schedule_limits(scenario, contract)
