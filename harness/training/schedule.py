"""The learning rate: transformers' own schedules, advanced once an update that was made.

Update k (from 1) uses ``base * f(k - 1; warmup, T)``. ``reduce_lr_on_plateau`` and ``greedy`` follow the
evaluation loss instead and advance after each evaluation, as in ``Trainer._evaluate``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import LambdaLR

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from .config import TrainingConfig


class Schedule:
    """The learning-rate schedule of a run.

    Args:
        optimizer: Whose learning rates it sets.
        config: The settings.
        total: T, the updates of the run.

    Raises:
        ValueError: The schedule refuses ``lr_scheduler_kwargs``, or cannot advance to its end.
    """

    def __init__(self, optimizer: Optimizer, config: TrainingConfig, *, total: int) -> None:
        from transformers.optimization import get_scheduler

        self._optimizer = optimizer
        self._follows_loss = config.lr_scheduler_type in {"reduce_lr_on_plateau", "greedy"}
        warmup = warmup_updates(config, total=total)
        if config.lr_scheduler_type == "polynomial" and warmup == total:
            raise ValueError(
                f"lr_scheduler_type='polynomial' with a warm-up of all {total} updates: transformers' schedule "
                "divides by their difference after the last one"
            )
        try:
            self._scheduler: Any = get_scheduler(
                config.lr_scheduler_type,
                optimizer=optimizer,
                num_warmup_steps=warmup,
                num_training_steps=total,
                scheduler_specific_kwargs=dict(config.lr_scheduler_kwargs),
            )
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"lr_scheduler_type={config.lr_scheduler_type!r} refuses lr_scheduler_kwargs="
                f"{dict(config.lr_scheduler_kwargs)!r}: {error}"
            ) from error

    def learning_rate(self) -> float:
        """The rate that the next update uses (of the first parameter group)."""
        return float(self._optimizer.param_groups[0]["lr"])

    def after_update(self) -> None:
        """Advance: an update was made."""
        if not self._follows_loss:
            self._scheduler.step()

    def after_evaluation(self, eval_loss: float) -> None:
        """Let a schedule that follows the loss see it."""
        if self._follows_loss:
            self._scheduler.step(eval_loss)

    def state_dict(self) -> dict[str, Any]:
        """The schedule's state as plain values; a ``LambdaLR``'s functions have none."""
        state = dict(self._scheduler.state_dict())
        state.pop("lr_lambdas", None)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``.

        The rates are worked out anew from the position, so that a run resumed with another ``max_steps``
        follows its own schedule from the first update on; for an unchanged schedule this gives the very same
        numbers.
        """
        if not isinstance(self._scheduler, LambdaLR):
            self._scheduler.load_state_dict(state)
            return
        lambdas = self._scheduler.lr_lambdas
        self._scheduler.load_state_dict({**state, "lr_lambdas": [None] * len(lambdas)})
        at = self._scheduler.last_epoch
        rates = [base * rate(at) for base, rate in zip(self._scheduler.base_lrs, lambdas, strict=True)]
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        vars(self._scheduler)["_last_lr"] = rates


def warmup_updates(config: TrainingConfig, *, total: int) -> int:
    """Updates of warm-up: a count if ``warmup_steps`` >= 1, else a share of all updates, rounded up.

    Source: ``TrainingArguments.get_warmup_steps``, transformers 5.x.
    """
    share = config.warmup_steps
    return int(share) if share >= 1 else math.ceil(total * share)
