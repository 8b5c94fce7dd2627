"""Where a run stands: everything that a resumed run needs besides tensors and random numbers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True, slots=True)
class Interval:
    """What has been trained on since the last log entry.

    Attributes:
        loss_sum: Sum of all token losses, over all ranks.
        label_tokens: Their number.
        window_mean_sum: Sum of the windows' token means.
        updates: Windows that made an update.
    """

    loss_sum: float = 0.0
    label_tokens: int = 0
    window_mean_sum: float = 0.0
    updates: int = 0

    def add(self, *, window_mean: float, label_tokens: int) -> None:
        """Count one window that made an update."""
        self.loss_sum += window_mean * label_tokens
        self.label_tokens += label_tokens
        self.window_mean_sum += window_mean
        self.updates += 1

    @property
    def token_mean(self) -> float:
        """Mean token loss; 0 where there was no label token."""
        return self.loss_sum / self.label_tokens if self.label_tokens else 0.0

    @property
    def window_mean(self) -> float:
        """Mean of the windows' token means, the figure that ``Trainer`` logs as ``loss``."""
        return self.window_mean_sum / self.updates if self.updates else 0.0


@dataclass(kw_only=True, slots=True)
class Progress:
    """Counts of a run in progress.

    Attributes:
        global_step: Updates made.
        skipped: Updates that the loss scaler suppressed.
        epoch: The pass over the data under way, from 0.
        micro_batches_done: Micro-batches of it that are done.
        epoch_exhausted: None of its micro-batches is left; the next window is of the next epoch.
        end_acted: What the end of an epoch, or of the run, calls for (log, evaluation, checkpoint) was done
            here.
        known_length: Micro-batches of a finished pass over a dataset without length.
        num_input_tokens_seen: Tokens trained on, without padding, over all ranks.
        claimed_epoch: Fractional epoch after the last window.
        grad_norm: Of the last update, before clipping; None before the first.
        learning_rate: That the last update used; None before the first.
        interval: Since the last log entry.
        whole: Since the run began.
        log_history: All entries, in ``Trainer``'s form.
    """

    global_step: int = 0
    skipped: int = 0
    epoch: int = 0
    micro_batches_done: int = 0
    epoch_exhausted: bool = False
    end_acted: bool = False
    known_length: int | None = None
    num_input_tokens_seen: int = 0
    claimed_epoch: float = 0.0
    grad_norm: float | None = None
    learning_rate: float | None = None
    interval: Interval = field(default_factory=Interval)
    whole: Interval = field(default_factory=Interval)
    log_history: list[dict[str, float]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """All fields as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Progress:
        """Go on from ``as_dict``."""
        parts = {key: Interval(**values[key]) for key in ("interval", "whole")}
        return cls(**{**values, **parts})
