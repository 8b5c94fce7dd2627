"""The account: figures and windows derived from a ledger, the observed side of the books. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .events import (
    Backward,
    Clipped,
    EpochBegan,
    Evaluated,
    Event,
    Fetched,
    Forward,
    GradsZeroed,
    Interrupted,
    Logged,
    OptimizerStep,
    SchedulerStep,
    Stopped,
)

__all__ = ["Account", "ClipPoint", "LogPoint", "MicroBatch", "Update", "account_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """One forward with its backward."""

    index: int
    rows: tuple[int, ...]
    label_tokens: tuple[int, ...]
    input_tokens: int
    epoch: int
    divisor: float | None
    loss: float | None
    scale: float | None
    """what the loss was multiplied with on its way to the gradient, all backwards together; None if unseen"""
    event: int
    """position of its forward in the ledger"""
    parts: tuple[MicroBatch, ...] = ()
    """on several ranks, where this is a round: the micro-batches of the ranks, side by side (`union_of`)"""

    @property
    def row_tokens(self) -> tuple[tuple[int, int], ...]:
        """Return every row with its label tokens, in order.

        Raises:
            ValueError: the ledger has not as many counts as rows.
        """
        return tuple(zip(self.rows, self.label_tokens, strict=True))

    @property
    def shares(self) -> tuple[MicroBatch, ...]:
        """Return the ranks' micro-batches of a round; on one rank the micro-batch itself."""
        return self.parts or (self,)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipPoint:
    """One clip, with how much of its window had been computed by then."""

    clipped: Clipped
    micro_batches: int
    event: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """One attempt to update the parameters, with the window that it closed."""

    index: int
    """1-based number among the optimizer steps; that of the next one for a suppressed attempt"""
    window: tuple[MicroBatch, ...]
    learning_rates: tuple[float, ...]
    grad_norm: float | None
    weights: dict[int, float] | None
    clips: tuple[ClipPoint, ...]
    """every clip since the previous attempt, in order"""
    suppressed: bool
    schedule_position: int
    """scheduler steps that had been made before this update"""
    event: int
    residual: float | None = None
    """what no weighting of the rows explains of its gradient, as a share of the norm"""
    loss_scale: float | None = None
    """what a grad scaler had multiplied its losses with"""

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of the window, in order."""
        return tuple(row for micro_batch in self.window for row in micro_batch.rows)

    @property
    def label_tokens(self) -> int:
        """Label tokens of the window."""
        return sum(sum(micro_batch.label_tokens) for micro_batch in self.window)

    @property
    def whole_clips(self) -> tuple[Clipped, ...]:
        """The clips of the complete window's gradient, in order."""
        return tuple(point.clipped for point in self.clips if point.micro_batches == len(self.window))

    @property
    def clip(self) -> Clipped | None:
        """The first clip of the complete window's gradient: its norm is the one before clipping."""
        return next(iter(self.whole_clips), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPoint:
    """One log entry with what the ledger knew when it was written."""

    entry: Logged
    optimizer_steps: int
    """optimizer steps done when it was written"""
    event: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What one run really did.

    Attributes:
        optimizer_steps: updates that ran; suppressed attempts are `skipped_steps`.
        micro_batches: training forwards that were followed by a backward.
        forwards_without_backward: training forwards whose loss no gradient reached.
        scheduler_steps: advances of the schedule after its construction.
        epochs_entered: passes over the training data from which a micro-batch came.
        unstepped: micro-batches whose gradient no optimizer step used: zeroed before it, or left at the end.
        evaluations: optimizer steps done at each observed evaluation pass.
        updates: every update with its window, suppressed ones included.
        logs: log entries in ledger order.
        stopped: whether the audit had to stop the run.
    """

    optimizer_steps: int
    skipped_steps: int
    micro_batches: int
    forwards_without_backward: int
    scheduler_steps: int
    rows_fetched: int
    label_tokens: int
    input_tokens: int
    epochs_entered: int
    unstepped: tuple[MicroBatch, ...]
    evaluations: tuple[int, ...]
    updates: tuple[Update, ...]
    logs: tuple[LogPoint, ...]
    stopped: bool
    interruptions: int = 0
    """times that the run was interrupted and resumed; what was lost with it counts in no figure"""

    @property
    def done(self) -> tuple[Update, ...]:
        """The updates that ran, in order."""
        return tuple(update for update in self.updates if not update.suppressed)

    @property
    def windows(self) -> tuple[int, ...]:
        """Micro-batches in the window of every update that ran or was suppressed."""
        return tuple(len(update.window) for update in self.updates)


def account_of(events: Sequence[Event]) -> Account:  # noqa: PLR0912  one branch an event
    """Derive the account from a ledger.

    A window is the micro-batches whose backward ran since the last attempt to step or the last zeroing of gradients;
    a gradient that an earlier window left behind shows in the weights, not here.
    """
    forwards: dict[int, tuple[int, Forward]] = {}
    scales: dict[int, float | None] = {}
    window: list[int] = []
    discarded: list[int] = []
    updates: list[Update] = []
    logs: list[LogPoint] = []
    evaluations: list[int] = []
    clips: list[ClipPoint] = []
    done = skipped = scheduler_steps = fetched = 0

    def micro_batch(index: int) -> MicroBatch:
        position, forward = forwards[index]
        return MicroBatch(
            index=index,
            rows=forward.rows,
            label_tokens=forward.label_tokens,
            input_tokens=forward.input_tokens,
            epoch=forward.epoch,
            divisor=forward.divisor,
            loss=forward.loss,
            scale=scales[index],
            event=position,
        )

    for position, event in _survivors(events):
        match event:
            case Forward():
                if event.micro_batch >= 0:
                    forwards[event.micro_batch] = (position, event)
            case Backward():
                if event.micro_batch not in scales:
                    window.append(event.micro_batch)
                    scales[event.micro_batch] = event.scale
                elif event.scale is not None:
                    scales[event.micro_batch] = (scales[event.micro_batch] or 0.0) + event.scale
            case Clipped():
                clips.append(ClipPoint(clipped=event, micro_batches=len(window), event=position))
            case GradsZeroed():
                discarded += window
                window, clips = [], []
            case OptimizerStep():
                skipped += event.suppressed
                for index in window if event.loss_scale else ():
                    scales[index] = (
                        None if (scale := scales[index]) is None else scale / (event.loss_scale or 1.0)
                    )
                updates.append(
                    Update(
                        index=done + 1,
                        window=tuple(micro_batch(index) for index in window),
                        learning_rates=event.learning_rates,
                        grad_norm=event.grad_norm,
                        weights=event.weights,
                        clips=tuple(clips),
                        suppressed=event.suppressed,
                        schedule_position=scheduler_steps,
                        event=position,
                        residual=event.residual,
                        loss_scale=event.loss_scale,
                    )
                )
                done += not event.suppressed
                window, clips = [], []
            case SchedulerStep():
                scheduler_steps += 1
            case Fetched():
                fetched += len(event.rows)
            case Logged():
                logs.append(LogPoint(entry=event, optimizer_steps=done, event=position))
            case Evaluated():
                evaluations.append(done)
            case EpochBegan() | _:
                pass

    seen = [micro_batch(index) for index in scales]
    return Account(
        optimizer_steps=done,
        skipped_steps=skipped,
        micro_batches=len(seen),
        forwards_without_backward=len(forwards) - len(seen),
        scheduler_steps=scheduler_steps,
        rows_fetched=fetched,
        label_tokens=sum(sum(item.label_tokens) for item in seen),
        input_tokens=sum(item.input_tokens for item in seen),
        epochs_entered=len({item.epoch for item in seen}),
        unstepped=tuple(micro_batch(index) for index in (*discarded, *window)),
        evaluations=tuple(evaluations),
        updates=tuple(updates),
        logs=tuple(logs),
        stopped=bool(events) and isinstance(events[-1], Stopped),
        interruptions=sum(isinstance(event, Interrupted) for event in events),
    )


def _survivors(events: Sequence[Event]) -> list[tuple[int, Event]]:
    """Return the events with their positions, without those that an interruption undid.

    It undid everything from the first micro-batch after the checkpoint's update on.
    """
    kept: list[tuple[int, Event]] = []
    for position, event in enumerate(events):
        if isinstance(event, Interrupted) and event.resumed_at is not None:
            done = 0
            for at, (_, earlier) in enumerate(kept):
                if done >= event.resumed_at and isinstance(earlier, Forward) and earlier.micro_batch >= 0:
                    del kept[at:]
                    break
                done += isinstance(earlier, OptimizerStep) and not earlier.suppressed
        kept.append((position, event))
    return kept
