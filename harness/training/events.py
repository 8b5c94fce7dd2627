"""What happens in a run, one small record a moment. Progress bars, ledgers and logs are made of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from .plan import TrainingPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingBegan:
    """The run is about to make its first update.

    Attributes:
        plan: Its counts.
        global_step: Updates already made by the run that it resumes, else 0.
        kernels: Which fused kernels run in this model, empty if none.
        backend: What runs them, ``none`` if none.
    """

    plan: TrainingPlan
    global_step: int
    kernels: tuple[str, ...]
    backend: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowFinished:
    """One window was trained on.

    Attributes:
        updated: Whether the parameters changed; otherwise the loss scaler suppressed the update.
        global_step: Updates made so far, this one included.
        epoch: Fractional epoch claimed after this window.
        rows: Row numbers of each of this rank's micro-batches.
        label_tokens: Label tokens over all ranks.
        loss: Token mean of the window over all ranks, 0 if it has no label token.
        grad_norm: Gradient norm before clipping.
        learning_rate: The rate this update used.
    """

    updated: bool
    global_step: int
    epoch: float
    rows: tuple[tuple[int, ...], ...]
    label_tokens: int
    loss: float
    grad_norm: float
    learning_rate: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Logged:
    """An entry was added to ``log_history``."""

    entry: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """A checkpoint is complete."""

    path: Path
    global_step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingEnded:
    """The run is over.

    Attributes:
        global_step: Updates made.
        stopped: Whether an event handler ended it early.
    """

    global_step: int
    stopped: bool


Event: TypeAlias = TrainingBegan | WindowFinished | Logged | Saved | TrainingEnded
Handler: TypeAlias = Callable[[Event], None]


class StopTraining(Exception):  # noqa: N818 - a request, not an error
    """Raise it in an event handler: the run ends after the current update, in good order."""
