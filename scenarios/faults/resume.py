"""Faults of resumed runs: right until the interruption, wrong after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .loop import Batch, Loop
from .registry import Family, fault, unusual


class _Resuming(Loop):
    """A loop that is also run with interruptions."""

    resumes = True


@unusual
class ResumesExactly(_Resuming):
    """Goes on exactly where it was interrupted."""


@fault("resume", Family.RESUME, "transformers #5605")
class SkipsUpdatesNotMicroBatches(_Resuming):
    """After a resume it skips as many micro-batches as updates were made in the pass."""

    def skipped_micro_batches(self, state: dict[str, Any]) -> int:
        """Not multiplied by the accumulation."""
        return -(-super().skipped_micro_batches(state) // self.A)


@fault("resume", Family.RESUME, "Lightning: a plain DataLoader is not fast-forwarded")
class RestartsThePass(_Resuming):
    """After a resume the interrupted pass begins again."""

    def skipped_micro_batches(self, state: dict[str, Any]) -> int:
        """Nothing is skipped."""
        super().skipped_micro_batches(state)
        return 0


@fault("resume", Family.RESUME, "open-instruct #681")
class SkipsInEveryPass(_Resuming):
    """After a resume every later pass skips the same micro-batches again."""

    again = 0

    def skipped_micro_batches(self, state: dict[str, Any]) -> int:
        """Remembered."""
        self.again = super().skipped_micro_batches(state)
        return self.again

    def end_epoch(self) -> None:
        """For the next pass too."""
        self.skip = self.again

    def epochs_to_enter(self) -> int:
        """As many as it takes."""
        return self.T


@fault("resume", Family.RESUME, "sd-scripts #2407")
class ResumesOneLate(_Resuming):
    """After a resume one micro-batch too many is skipped."""

    def skipped_micro_batches(self, state: dict[str, Any]) -> int:
        """One more, where one is left."""
        skipped = super().skipped_micro_batches(state)
        return skipped + (0 < skipped < self.M - 1)

    def epochs_to_enter(self) -> int:
        """As many as it takes."""
        return self.T


@fault("resume", Family.RESUME, "transformers 4.37.2 with accelerate 0.26.1")
class DrawsAnotherOrder(_Resuming):
    """After a resume the interrupted pass is drawn in another order."""

    def restore_order(self, state: dict[str, Any]) -> None:
        """Another seed."""
        self.generator.manual_seed(self.args.seed + 1)


@fault("resume", Family.RESUME)
class ForgetsTheSchedule(_Resuming):
    """After a resume the schedule begins anew."""

    def restore_schedule(self, state: dict[str, Any]) -> None:
        """Rate and position as at the start."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.get_last_lr()[0]


@fault("resume", Family.RESUME)
class WarmsUpAgain(_Resuming):
    """After a resume the schedule is one update behind."""

    def restore_schedule(self, state: dict[str, Any]) -> None:
        """One behind."""
        state["schedule"]["last_epoch"] -= 1
        super().restore_schedule(state)
        for group in self.optimizer.param_groups:
            group["lr"] = self.args.learning_rate * self.schedule.lr_lambdas[0](self.schedule.last_epoch)


@fault("target", Family.RESUME, "OpenRLHF #1200")
class CountsFromZeroAgain(_Resuming):
    """After a resume the updates are counted from zero."""

    def restore(self) -> None:
        """Forgotten."""
        super().restore()
        self.updates = 0

    def epochs_to_enter(self) -> int:
        """As many as it takes."""
        return self.T


@fault("resume", Family.RESUME, "wrong only after a resume")
class HalvesTheFirstWindow(_Resuming):
    """The first window after a resume is half as long."""

    shortened = False

    def windows(self, batches: Iterable[Batch]) -> Iterator[list[Batch]]:
        """Only the first one, only after a resume."""
        for window in super().windows(batches):
            if self.resume and not self.shortened and len(window) > 1:
                self.shortened = True
                half = len(window) // 2
                yield window[:half]
                yield window[half:]
            else:
                yield window
