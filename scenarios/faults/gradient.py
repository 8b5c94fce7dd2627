"""Faults of gradients that stay, and of clipping."""

from __future__ import annotations

import math
from typing import Any

from .loop import Batch, Loop
from .registry import Family, fault


@fault("leak", Family.GRADIENT)
class ZeroesOncePerEpoch(Loop):
    """zero_grad is called at the end of an epoch only."""

    def zero_grad(self) -> None:
        """Not after an update."""

    def end_epoch(self) -> None:
        """Here."""
        self.optimizer.zero_grad()


@fault("leak", Family.GRADIENT, "OpenNMT-py #2209")
class NeverZeroes(Loop):
    """zero_grad is never called."""

    def zero_grad(self) -> None:
        """Never."""


@fault("leak", Family.GRADIENT)
class ZeroesEveryOther(Loop):
    """zero_grad is called after every other update."""

    def zero_grad(self) -> None:
        """Every second time."""
        if self.updates % 2:
            self.optimizer.zero_grad()


@fault("leak", Family.GRADIENT)
class KeepsHalfTheGradient(Loop):
    """Half of the gradient stays, as if it were momentum."""

    def zero_grad(self) -> None:
        """Halved in place."""
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(0.5)


@fault("leak", Family.GRADIENT)
class ZeroesBeforeTheEnd(Loop):
    """zero_grad comes before the window's last micro-batch of the update after: the first one's gradient stays."""

    def zero_grad(self) -> None:
        """Not here."""

    def train_micro_batch(self, batch: Batch, divisor: Any, window: list[Batch]) -> None:
        """Zeroed before the second micro-batch of a window, or never where it has one."""
        if len(window) > 1 and batch is window[0] and self.updates % 3 == 2:
            self.optimizer.zero_grad()
        super().train_micro_batch(batch, divisor, window)


@fault("clip", Family.GRADIENT)
class NeverClips(Loop):
    """max_grad_norm is read and not used."""

    def clip(self) -> None:
        """The norm alone."""
        import torch

        _ = self.args.max_grad_norm
        self.norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), math.inf)


@fault("clip", Family.GRADIENT)
class ClipsEveryMicroBatch(Loop):
    """The running gradient is clipped after every backward."""

    def backward(self, loss: Any) -> None:
        """Clipped here."""
        super().backward(loss)
        super().clip()

    def clip(self) -> None:
        """Not here."""


@fault("clip", Family.GRADIENT)
class ClipsAfterTheUpdate(Loop):
    """The gradient is clipped when the update has been made."""

    def clip(self) -> None:
        """Not before."""

    def scheduler_step(self) -> None:
        """But here."""
        super().clip()
        super().scheduler_step()


@fault("clip", Family.GRADIENT)
class ClipsByLargestEntry(Loop):
    """The norm is the largest entry's, not the Euclidean one."""

    def clip(self) -> None:
        """By the infinity norm."""
        import torch

        limit = self.args.max_grad_norm or math.inf
        self.norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit, norm_type=math.inf)


@fault("clip", Family.GRADIENT)
class ClipsToOneAlways(Loop):
    """Clips at 1.0 whatever max_grad_norm says."""

    def clip(self) -> None:
        """At one."""
        import torch

        _ = self.args.max_grad_norm
        self.norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)


@fault("clip", Family.GRADIENT)
class ClipsBeforeLastBackward(Loop):
    """Clips before the window's last micro-batch is added."""

    def train_micro_batch(self, batch: Batch, divisor: Any, window: list[Batch]) -> None:
        """Before the last one."""
        if batch is window[-1] and len(window) > 1:
            super().clip()
        super().train_micro_batch(batch, divisor, window)

    def clip(self) -> None:
        """Where there was no other chance."""
        if self.norm is None:
            super().clip()


@fault("clip", Family.GRADIENT, "unsloth_zoo up to 2026.10.5")
class ZeroMeansClipToNothing(Loop):
    """max_grad_norm = 0, which turns clipping off, scales the gradient to nothing."""

    def clip(self) -> None:
        """Taken literally."""
        import torch

        self.norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
