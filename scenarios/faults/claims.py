"""Faults of what the trainer says: claims, plan, log, tokens."""

from __future__ import annotations

import math
from typing import Any

from .loop import Batch, Loop
from .registry import Family, fault


@fault("claim", Family.CLAIMS, "nanochat #775")
class ClaimsMicroBatches(Loop):
    """global_step counts micro-batches."""

    def claims(self) -> dict[str, Any]:
        """At the end."""
        return super().claims() | {"global_step": self.micro_batches}


@fault("claim", Family.CLAIMS, "unsloth_train leaves state.global_step at 0")
class ClaimsNothingDone(Loop):
    """global_step stays 0."""

    def claims(self) -> dict[str, Any]:
        """At the end."""
        return super().claims() | {"global_step": 0}


@fault("claim", Family.CLAIMS)
class ClaimsOneLess(Loop):
    """global_step is counted from 0."""

    def claims(self) -> dict[str, Any]:
        """At the end."""
        return super().claims() | {"global_step": self.updates - 1}


@fault("claim", Family.CLAIMS)
class ClaimsTheTarget(Loop):
    """global_step claims the floored epochs' updates, whatever was done."""

    def claims(self) -> dict[str, Any]:
        """Computed, not counted."""
        return super().claims() | {"global_step": self.epochs_to_enter() * self.U}


@fault("plan", Family.CLAIMS, "unsloth_zoo 2024.10.0: the bar's total")
class PlansEpochsTimes(Loop):
    """The announced total is multiplied by the epochs."""

    def planned(self) -> int:
        """T·E."""
        return self.T * self.epochs_to_enter()


@fault("plan", Family.CLAIMS, "transformers up to 4.51.3 (#22110)")
class PlansMicroBatches(Loop):
    """The announced total is in micro-batches."""

    def planned(self) -> int:
        """T·A."""
        return self.T * self.A


@fault("epoch", Family.CLAIMS)
class EpochOneAhead(Loop):
    """The claimed epoch is counted from 1."""

    def claimed_epoch(self) -> float:
        """One more."""
        return super().claimed_epoch() + 1


@fault("epoch", Family.CLAIMS)
class EpochByFullWindows(Loop):
    """The claimed epoch takes every window as full."""

    def claimed_epoch(self) -> float:
        """Updates times A over M."""
        return self.updates * self.A / self.M


@fault("epoch", Family.CLAIMS, "transformers #41913")
class EpochByTarget(Loop):
    """The claimed epoch is the part of the run, not of the data."""

    def claimed_epoch(self) -> float:
        """Of the whole run's micro-batches."""
        return self.micro_batches / (self.T * self.A)


@fault("epoch", Family.CLAIMS)
class EpochOneUpdateLate(Loop):
    """The logged epoch is that of the update before."""

    before = 0.0

    def log_entry(self) -> dict[str, Any]:
        """One late in the log, right at the end."""
        entry = super().log_entry()
        entry["epoch"], self.before = self.before, entry["epoch"]
        return entry


@fault("log", Family.CLAIMS, "transformers up to 4.50.3 (#28124)")
class LogsNextRate(Loop):
    """The logged rate is the next update's."""

    def logged_rate(self) -> float:
        """Of the schedule now."""
        return float(self.schedule.get_last_lr()[0])


@fault("log", Family.CLAIMS)
class LogsLastMicroBatch(Loop):
    """The logged loss is the last micro-batch's share."""

    last = 0.0

    def train_micro_batch(self, batch: Batch, divisor: Any, window: list[Batch]) -> None:
        """Remembered."""
        before = self.window_loss
        super().train_micro_batch(batch, divisor, window)
        self.last = self.window_loss - before

    def logged_loss(self) -> float:
        """One micro-batch's."""
        return self.last


@fault("log", Family.CLAIMS)
class LogsSum(Loop):
    """The logged loss is the sum since the last entry, not the mean."""

    def logged_loss(self) -> float:
        """Not divided."""
        return sum(self.interval)


@fault("log", Family.CLAIMS)
class LogsTimesAccumulation(Loop):
    """The logged loss is multiplied by the accumulation."""

    def logged_loss(self) -> float:
        """Times A."""
        return super().logged_loss() * self.A


@fault("log", Family.CLAIMS)
class LogsNeverReset(Loop):
    """The interval's losses are never forgotten."""

    def after_update(self) -> None:
        """Kept."""
        kept = [*self.interval, self.window_loss]
        super().after_update()
        self.interval = kept


@fault("log", Family.CLAIMS)
class LogsOneEarly(Loop):
    """The log comes one update before it is due."""

    def log_is_due(self) -> bool:
        """One early."""
        return bool(self.log_every) and (self.updates + 1) % self.log_every == 0


@fault("log", Family.CLAIMS)
class LogsByMicroBatches(Loop):
    """The log's cadence is counted in micro-batches."""

    def log_is_due(self) -> bool:
        """When the micro-batches come out even."""
        return bool(self.log_every) and self.micro_batches % self.log_every == 0


@fault("log", Family.CLAIMS)
class LogsClippedNorm(Loop):
    """The logged gradient norm is the one after clipping."""

    def logged_norm(self) -> float:
        """At most the limit."""
        return min(super().logged_norm(), self.args.max_grad_norm or math.inf)


@fault("tokens", Family.CLAIMS, "transformers #35529, #40416")
class TokensWithPadding(Loop):
    """The claimed tokens include padding."""

    def count_tokens(self, batch: Batch) -> int:
        """Every position."""
        return int(batch["input_ids"].numel())


@fault("tokens", Family.CLAIMS)
class TokensOfLabels(Loop):
    """The claimed tokens are the label tokens."""

    def count_tokens(self, batch: Batch) -> int:
        """Labels only."""
        return int((batch["labels"][:, 1:] != -100).sum())
