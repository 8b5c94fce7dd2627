"""What the trainer says of itself: global step, epoch, totals, log history. Never what we count. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Claims", "LogEntry"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LogEntry:
    """One entry of the trainer's log; None where the entry has no such value."""

    global_step: int | None = None
    epoch: float | None = None
    loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    input_tokens: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """Every claim of one run; None means that the trainer makes no such claim.

    Attributes:
        global_step: the optimizer steps it says it did.
        epoch: the epoch, usually fractional, that it says it reached.
        planned_steps: the total it announced before or while training, by source: `state`, `banner`, `bar`.
        log: entries that carry a training loss, learning rate or gradient norm, in order.
        saved_at: `global_step` of every checkpoint it says it wrote.
        evaluated_at: `global_step` of every evaluation it says it made.
        input_tokens: tokens that it says it has seen.
        unread: arguments that a loop of one's own never looked at, so that it can't have honoured them.
    """

    global_step: int | None = None
    epoch: float | None = None
    planned_steps: dict[str, int] | None = None
    log: tuple[LogEntry, ...] | None = None
    saved_at: tuple[int, ...] | None = None
    evaluated_at: tuple[int, ...] | None = None
    input_tokens: int | None = None
    unread: tuple[str, ...] = ()
