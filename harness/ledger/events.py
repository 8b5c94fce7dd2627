"""The events of a ledger: what torch was seen doing, one frozen dataclass a moment. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Backward",
    "Clipped",
    "EpochBegan",
    "Evaluated",
    "Event",
    "Fetched",
    "Forward",
    "GradsZeroed",
    "Interrupted",
    "Logged",
    "OptimizerStep",
    "Saved",
    "SchedulerStep",
    "Stopped",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochBegan:
    """A pass over the training data that training used began: an iterator of its loader or dataset was made."""

    epoch: int
    """0-based number of the pass"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """Rows left the training dataset, in this order."""

    rows: tuple[int, ...]
    epoch: int
    """the pass that fetched them; -1 where no training forward used it (a peek), or without a loader"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forward:
    """The model's forward returned; in training mode this begins a micro-batch."""

    micro_batch: int
    """0-based number among the training forwards; -1 for an evaluation forward"""
    rows: tuple[int, ...]
    """ids of the rows that were in the input, read from the token values"""
    epoch: int
    """pass from which these rows were fetched"""
    label_tokens: tuple[int, ...]
    """label tokens of each row, after the shift"""
    input_tokens: int
    """positions that are not padding"""
    divisor: float | None
    """the divisor that the trainer handed over, if it did"""
    loss: float | None
    """the loss that the model returned; None when the trainer computes it from the outputs"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backward:
    """A gradient reached the micro-batch's loss."""

    micro_batch: int
    scale: float | None
    """d(objective)/d(loss): what the trainer multiplied the loss with; None where it computed the loss itself"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clipped:
    """The gradients were clipped by their norm."""

    max_norm: float
    total_norm: float


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerStep:
    """An optimizer's update ran, or a grad scaler suppressed it."""

    learning_rates: tuple[float, ...]
    """one a parameter group, as used by this update"""
    grad_norm: float | None
    """norm of the gradient that reached the optimizer"""
    weights: dict[int, float] | None
    """row id to the weight of one of its label tokens in this update (tracer model: the gradient's entry
    over the row's label tokens); rows of weight 0 are left out. None where the books need a projection."""
    suppressed: bool
    """True for a skipped step"""
    residual: float | None = None
    """share of the gradient's norm that no weighting of rows explains, where the weights come by projection"""
    loss_scale: float | None = None
    """what a grad scaler had multiplied the loss with"""


@dataclass(frozen=True, kw_only=True, slots=True)
class GradsZeroed:
    """Gradients were zeroed or dropped, by the optimizer or by the model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SchedulerStep:
    """A learning-rate scheduler advanced (not counting the advance in its constructor)."""

    learning_rates: tuple[float, ...]
    """the rates after it"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Logged:
    """The trainer logged: its claim, at this point of the ledger."""

    global_step: int | None
    epoch: float | None
    loss: float | None
    learning_rate: float | None
    grad_norm: float | None
    input_tokens: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """A checkpoint was written, at this claimed `global_step`."""

    global_step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """An evaluation pass ended: observed from forwards over the evaluation rows."""

    rows: int
    """evaluation rows that were seen"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interrupted:
    """The run was interrupted here and resumed from its last checkpoint."""

    resumed_at: int | None = None
    """optimizer step of that checkpoint: what came after it is lost, and done again"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped:
    """The audit stopped a run that had gone far beyond what was asked for; the ledger ends here."""

    micro_batches: int
    """micro-batches at that point"""


Event = (
    EpochBegan
    | Fetched
    | Forward
    | Backward
    | Clipped
    | OptimizerStep
    | GradsZeroed
    | SchedulerStep
    | Logged
    | Saved
    | Evaluated
    | Interrupted
    | Stopped
)
