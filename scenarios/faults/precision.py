"""Faults of loss scaling: what happens to an update that the grad scaler suppresses."""

from __future__ import annotations

from typing import Any

from .loop import Batch, Loop
from .registry import Family, fault, unusual

_FIRST_SCALE = 2.0**24
"""far above what float16 gradients can hold, so that the first attempts are suppressed"""


class _Scaled(Loop):
    """A loop in float16 with a grad scaler; attempts that it suppresses are no updates."""

    mixed_precision = True
    is_suppressed = False

    def prepare(self) -> None:
        """With a scaler where float16 is asked for."""
        import torch

        super().prepare()
        self.scaler = torch.amp.GradScaler("cpu", init_scale=_FIRST_SCALE, enabled=self.args.fp16)

    def epochs_to_enter(self) -> int:
        """As many as it takes, suppressed attempts included."""
        return 100 * self.T

    def loss(self, batch: Batch, divisor: Any, window: list[Batch]) -> Any:
        """The forward runs in float16."""
        import torch

        with torch.autocast("cpu", dtype=torch.float16, enabled=self.args.fp16):
            return super().loss(batch, divisor, window)

    def backward(self, loss: Any) -> None:
        """Scaled."""
        self.scaler.scale(loss).backward()

    def clip(self) -> None:
        """Unscaled first."""
        self.scaler.unscale_(self.optimizer)
        super().clip()

    def optimizer_step(self) -> None:
        """Suppressed where a gradient is not finite: the scale falls."""
        before = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.is_suppressed = self.scaler.get_scale() < before

    def update(self) -> None:
        """Nothing counts of a suppressed attempt."""
        self.clip()
        self.rate = self.schedule.get_last_lr()[0]
        self.optimizer_step()
        if self.is_suppressed:
            self.suppressed()
        else:
            self.scheduler_step()
            self.zero_grad()
            self.updates += 1
            self.after_update()

    def suppressed(self) -> None:
        """What follows a suppressed attempt."""
        self.zero_grad()


@unusual
class ScalesTheLoss(_Scaled):
    """Trains in float16 with a grad scaler that begins far too high."""


@fault("skip", Family.PRECISION, "accelerate #4242")
class CountsSuppressed(_Scaled):
    """A suppressed attempt is counted in global_step."""

    attempts = 0

    def optimizer_step(self) -> None:
        """Every attempt."""
        super().optimizer_step()
        self.attempts += 1

    def claimed_updates(self) -> int:
        """Attempts."""
        return self.attempts


@fault("skip", Family.PRECISION, "Lightning #18828, NeMo #3293")
class AdvancesOnSuppressed(_Scaled):
    """The schedule advances on a suppressed attempt."""

    def suppressed(self) -> None:
        """Advanced all the same."""
        self.scheduler_step()
        super().suppressed()


@fault("clip", Family.PRECISION)
class ClipsBeforeUnscaling(_Scaled):
    """The scaled gradient is clipped."""

    def clip(self) -> None:
        """Unscaled afterwards, by the scaler."""
        Loop.clip(self)


@fault("window", Family.PRECISION)
class KeepsSuppressedGradient(_Scaled):
    """A window that makes no update leaves its gradient to the next one."""

    held = False

    def update(self) -> None:
        """The second window of the run makes no update, and its gradient stays."""
        if self.updates == 1 and not self.held:
            self.held = True
            return
        super().update()


@fault("weight", Family.PRECISION, "coqui #23, in reverse")
class NeverUnscales(_Scaled):
    """The loss is scaled, the gradient never unscaled: the optimizer is called without the scaler."""

    def prepare(self) -> None:
        """A scale that float16 can hold."""
        super().prepare()
        self.scaler._init_scale = 8.0  # noqa: SLF001  the only way to begin low with the same class

    def clip(self) -> None:
        """Not unscaled."""
        Loop.clip(self)

    def optimizer_step(self) -> None:
        """Without the scaler."""
        self.optimizer.step()
