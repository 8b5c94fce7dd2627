"""Faults of the learning-rate schedule."""

from __future__ import annotations

from typing import Any

from .loop import Batch, Loop
from .registry import Family, fault


@fault("schedule", Family.SCHEDULE, "accelerate 0.12 to 0.15 (#963)")
class AdvancesPerMicroBatch(Loop):
    """The schedule advances once a micro-batch."""

    def train_micro_batch(self, batch: Batch, divisor: Any, window: list[Batch]) -> None:
        """Here."""
        super().train_micro_batch(batch, divisor, window)
        if batch is not window[-1]:
            self.scheduler_step()


@fault("schedule", Family.SCHEDULE)
class AdvancesBeforeUpdate(Loop):
    """The schedule advances before the update, which uses the next rate."""

    def optimizer_step(self) -> None:
        """Schedule first."""
        self.schedule.step()
        self.rate = self.schedule.get_last_lr()[0]
        super().optimizer_step()

    def scheduler_step(self) -> None:
        """Done already."""


@fault("schedule", Family.SCHEDULE)
class AdvancesPerEpoch(Loop):
    """The schedule advances once an epoch."""

    def scheduler_step(self) -> None:
        """Not here."""

    def end_epoch(self) -> None:
        """But here."""
        self.schedule.step()


@fault("schedule", Family.SCHEDULE, "accelerate #2926: times num_processes")
class AdvancesTwice(Loop):
    """The schedule advances twice an update."""

    def scheduler_step(self) -> None:
        """Twice."""
        super().scheduler_step()
        super().scheduler_step()


@fault("schedule", Family.SCHEDULE)
class AdvancesLateByOne(Loop):
    """The first update does not advance the schedule."""

    def scheduler_step(self) -> None:
        """From the second update on."""
        if self.updates:
            super().scheduler_step()


@fault("schedule", Family.SCHEDULE, "diffusers #4387")
class LengthInMicroBatches(Loop):
    """The schedule is built for micro-batches."""

    def schedule_length(self) -> int:
        """A times too long."""
        return self.T * self.A


@fault("schedule", Family.SCHEDULE, "OpenRLHF #1351")
class LengthFloored(Loop):
    """The schedule is built for floored updates an epoch and ends early."""

    def schedule_length(self) -> int:
        """By floor; from epochs, whatever max_steps says."""
        return max(self.epochs_to_enter() * max(self.M // self.A, 1), 1)


@fault("schedule", Family.SCHEDULE)
class LengthFromEpochsOnly(Loop):
    """The schedule is built for num_train_epochs though max_steps decides."""

    def schedule_length(self) -> int:
        """From the epochs asked for."""
        return max(int(self.epochs * self.U), 1)


@fault("schedule", Family.SCHEDULE)
class NoWarmup(Loop):
    """warmup_steps is read and not used."""

    def make_schedule(self, length: int) -> Any:
        """Without."""
        from transformers import get_scheduler

        _ = self.args.warmup_steps
        return get_scheduler(
            self.args.lr_scheduler_type, self.optimizer, num_warmup_steps=0, num_training_steps=length
        )


@fault("schedule", Family.SCHEDULE)
class WarmupInMicroBatches(Loop):
    """Warm-up is counted in micro-batches."""

    def make_schedule(self, length: int) -> Any:
        """A times shorter, one update at least."""
        from transformers import get_scheduler

        warmup = -(-self.args.warmup_steps // self.A)
        return get_scheduler(
            self.args.lr_scheduler_type, self.optimizer, num_warmup_steps=warmup, num_training_steps=length
        )


@fault("schedule", Family.SCHEDULE)
class RestartsEveryEpoch(Loop):
    """The schedule begins anew with every epoch."""

    def end_epoch(self) -> None:
        """Rate and schedule as at the start."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self.schedule = self.make_schedule(self.schedule_length())


@fault("schedule", Family.SCHEDULE)
class AlwaysLinear(Loop):
    """lr_scheduler_type is read and a linear schedule built."""

    def make_schedule(self, length: int) -> Any:
        """Linear."""
        from transformers import get_scheduler

        _ = self.args.lr_scheduler_type
        return get_scheduler(
            "linear", self.optimizer, num_warmup_steps=self.args.warmup_steps, num_training_steps=length
        )
