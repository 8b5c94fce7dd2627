"""Faults of the step target."""

from __future__ import annotations

import math

from .loop import Loop
from .registry import Family, fault


@fault("target", Family.TARGET, "Unsloth's published diagnosis (unsloth #1163)")
class EpochsTimesMaxSteps(Loop):
    """max_steps is counted once an epoch."""

    def target(self) -> int:
        """T times the epochs that T needs."""
        return super().target() * math.ceil(super().target() / self.U)


@fault("target", Family.TARGET, "unsloth_zoo up to 2026.10.5, speculators #898")
class BreakLeavesInnerLoop(Loop):
    """The break at the target leaves only the inner loop, and later counts never equal it."""

    def epochs_to_enter(self) -> int:
        """From a floored number of updates an epoch."""
        floored = max(self.M // self.A, 1)
        return math.ceil(self.T / floored)

    def is_finished(self) -> bool:
        """Equal, not at least."""
        return self.updates == self.T

    def run(self) -> dict[str, object]:
        """The outer loop knows nothing of the target."""
        self.prepare()
        self.model.train()
        for epoch in range(self.epochs_to_enter()):
            self.epoch = epoch
            self.train_epoch()
        return self.claims()


@fault("target", Family.TARGET, "nanochat #775")
class StopsByMicroBatches(Loop):
    """The target is compared with micro-batches."""

    def is_finished(self) -> bool:
        """Micro-batches, not updates."""
        return self.micro_batches >= self.T


@fault("target", Family.TARGET)
class OneUpdateTooMany(Loop):
    """Stops after the target is passed, not reached."""

    def epochs_to_enter(self) -> int:
        """Enough for one more."""
        return math.ceil((self.T + 1) / self.U)

    def is_finished(self) -> bool:
        """Greater, not at least."""
        return self.updates > self.T


@fault("target", Family.TARGET, "tinker-cookbook #448")
class OneUpdateTooFew(Loop):
    """The last update is never made."""

    def is_finished(self) -> bool:
        """One early."""
        return self.updates >= max(self.T - 1, 1)


@fault("target", Family.TARGET, "unsloth-zoo #873")
class EpochsRoundedUp(Loop):
    """Fractional epochs are rounded up before they are multiplied."""

    def target(self) -> int:
        """Whole epochs only."""
        return super().target() if self.args.max_steps > 0 else math.ceil(self.epochs) * self.U


@fault("target", Family.TARGET)
class EpochsRoundedDown(Loop):
    """Fractional epochs are rounded down, to one at least."""

    def target(self) -> int:
        """Whole epochs only."""
        return super().target() if self.args.max_steps > 0 else max(int(self.epochs), 1) * self.U


@fault("target", Family.TARGET, "NVIDIA Automodel #3768")
class MaxStepsCappedByEpochs(Loop):
    """max_steps is silently capped by num_train_epochs."""

    def target(self) -> int:
        """The smaller of both."""
        by_epochs: int = math.ceil(self.epochs * self.U)
        return min(super().target(), by_epochs)


@fault("target", Family.TARGET, "litgpt #79")
class EpochSizeInRows(Loop):
    """An epoch is taken to have as many updates as rows over the accumulation."""

    def target(self) -> int:
        """Rows instead of micro-batches."""
        if self.args.max_steps > 0:
            return super().target()
        return math.ceil(self.epochs * math.ceil(len(self.train_dataset) / self.A))


@fault("target", Family.TARGET, "trl #3532")
class AccumulationAppliedTwice(Loop):
    """max_steps is divided by the accumulation once more."""

    def target(self) -> int:
        """Divided again."""
        return max(super().target() // self.A, 1)


@fault("target", Family.TARGET)
class WrongWhenOneRowIsLeft(Loop):
    """One update too many, only when rows % (B·A) = 1."""

    def target(self) -> int:
        """Right for all other sizes."""
        together: int = self.args.per_device_train_batch_size * self.A
        return super().target() + (together > 1 and len(self.train_dataset) % together == 1)


@fault("target", Family.TARGET)
class RightOnEvenAccumulation(Loop):
    """Floors the updates of an epoch when the accumulation is odd."""

    def target(self) -> int:
        """Right on every even accumulation, and for max_steps."""
        if self.args.max_steps > 0 or self.A % 2 == 0:
            return super().target()
        return math.ceil(self.epochs * max(self.M // self.A, 1))


@fault("target", Family.TARGET, "transformers #12499")
class StopsAfterThreePasses(Loop):
    """Gives up after three passes over the data."""

    def epochs_to_enter(self) -> int:
        """At most three."""
        return min(super().epochs_to_enter(), 3)


@fault("target", Family.TARGET, "transformers up to 4.51.3 (#33455)")
class UpdatesPerEpochFloored(Loop):
    """The updates of an epoch are floored where the target is computed from epochs."""

    def target(self) -> int:
        """By floor."""
        if self.args.max_steps > 0:
            return super().target()
        return math.ceil(self.epochs * max(self.M // self.A, 1))
