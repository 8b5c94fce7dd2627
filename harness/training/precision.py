"""Autocast, loss scaling and clipping: from a loss to one optimizer update, or to a skipped one.

Order of one attempt: sum the gradients over ranks, unscale, take the norm, clip, update. An update whose
gradients overflowed under float16 is suppressed; it is reported as skipped, is not counted and does not
advance the schedule.
"""

from __future__ import annotations

import contextlib
import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from .config import TrainingConfig
    from .ranks import Ranks

#: After so many suppressed updates in a row the loss scale has fallen by 2**40: no scale will help any more.
MOST_SKIPPED_IN_A_ROW: Final = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """What became of one window's gradients.

    Attributes:
        updated: Whether the parameters were updated; otherwise the loss scaler suppressed the update.
        grad_norm: 2-norm of the unscaled gradient over all ranks, before clipping.
    """

    updated: bool
    grad_norm: float


class Precision:
    """Autocast and loss scaling of one run.

    Args:
        config: The settings.
        parameters: The trained parameters.
        device: Where the model is.

    Raises:
        ValueError: fp16 was asked for with float16 parameters.
    """

    def __init__(self, config: TrainingConfig, parameters: list[nn.Parameter], device: torch.device) -> None:
        self._device = device
        self._max_norm = config.max_grad_norm
        self._dtype = torch.bfloat16 if config.bf16 else torch.float16 if config.fp16 else None
        self._parameters = parameters
        self._in_a_row = 0
        self._made = False
        if config.fp16 and any(parameter.dtype == torch.float16 for parameter in parameters):
            raise ValueError(
                "fp16=True needs float32 parameters (the loss scaler updates those), got float16 ones"
            )
        self._scaler = torch.amp.GradScaler(device.type) if config.fp16 else None

    def watch(self, optimizer: Optimizer) -> None:
        """Learn from the optimizer itself whether it updated.

        A fused optimizer takes the overflow flag into its own kernel, so that ``optimizer.step`` is called
        and changes nothing (accelerate #4242). That path is closed here: with loss scaling on, a suppressed
        update is one that the optimizer is not asked for.

        Args:
            optimizer: The run's optimizer.
        """
        optimizer.register_step_post_hook(self._note)
        if self._scaler is not None:
            vars(optimizer)["_step_supports_amp_scaling"] = False

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which forwards run."""
        return (
            contextlib.nullcontext()
            if self._dtype is None
            else torch.autocast(self._device.type, self._dtype)
        )

    def backward(self, loss: Tensor) -> None:
        """Add this loss's gradient, scaled if the run scales."""
        scaled = loss if self._scaler is None else self._scaler.scale(loss)
        torch.autograd.backward(scaled)

    def update(self, optimizer: Optimizer, ranks: Ranks) -> Attempt:
        """Turn the accumulated gradients into one update.

        Args:
            optimizer: The run's optimizer.
            ranks: The processes whose gradients are summed.

        Returns:
            What became of it.

        Raises:
            RuntimeError: ``MOST_SKIPPED_IN_A_ROW`` updates in a row overflowed.
        """
        ranks.sum_gradients(self._parameters)
        if self._scaler is not None and self._has_gradients():
            self._scaler.unscale_(optimizer)
        limit = self._max_norm if self._max_norm > 0 else math.inf
        norm = float(nn.utils.clip_grad_norm_(self._parameters, limit))
        self._made = False
        if self._scaler is not None and self._has_gradients():
            self._scaler.step(optimizer)
            self._scaler.update()
        else:
            optimizer.step()
        self._in_a_row = 0 if self._made else self._in_a_row + 1
        if self._in_a_row >= MOST_SKIPPED_IN_A_ROW:
            raise RuntimeError(
                f"{self._in_a_row} updates in a row overflowed in float16, the last with norm {norm} "
                f"at loss scale {self.scale():g}: the loss or its gradient is not finite at any scale"
            )
        return Attempt(updated=self._made, grad_norm=norm)

    def scale(self) -> float:
        """The loss scale in use, 1 without scaling."""
        return 1.0 if self._scaler is None else float(self._scaler.get_scale())

    def state_dict(self) -> dict[str, Any]:
        """The loss scaler's state as plain numbers, empty without scaling."""
        scaler = {} if self._scaler is None else self._scaler.state_dict()
        return {"scaler": scaler, "skipped_in_a_row": self._in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self._in_a_row = int(state["skipped_in_a_row"])
        if self._scaler is not None and state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])

    def _has_gradients(self) -> bool:
        return any(parameter.grad is not None for parameter in self._parameters)

    def _note(self, *_: Any) -> None:
        self._made = True
