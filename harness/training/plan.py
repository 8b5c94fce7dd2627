"""How many updates a run makes, and where they fall: integer arithmetic, no torch.

The semantics are those of Hugging Face ``Trainer`` 5.x (``Trainer.set_initial_training_values``)::

    M = ceil(rows / (B R))  or floor with drop_last     micro-batches an epoch, B batch size, R ranks
    U = max(M // A + (M % A > 0), 1)                    updates an epoch, A accumulation
    T = max_steps if max_steps > 0 else ceil(epochs U)  updates of the run
    E = ceil(T / U) if max_steps > 0 else ceil(epochs)  epochs entered
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .config import TrainingConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """The counts of a run before it begins.

    Attributes:
        rows: Rows of the dataset after packing, ``None`` if it has no length.
        micro_batches_per_epoch: M, ``None`` if the dataset has no length.
        updates_per_epoch: U, ``None`` if the dataset has no length.
        max_steps: T, the updates of the run.
        num_train_epochs: E, the epochs entered, ``None`` if the dataset has no length.
        accumulation: A, the micro-batches of a full window.
        by_updates: Whether ``max_steps`` was asked for; then the run ends after T *made* updates, otherwise
            after T windows, made or skipped by the loss scaler, because then the data are what was asked for.
    """

    rows: int | None
    micro_batches_per_epoch: int | None
    updates_per_epoch: int | None
    max_steps: int
    num_train_epochs: int | None
    accumulation: int
    by_updates: bool

    def is_done(self, *, global_step: int, skipped: int) -> bool:
        """Whether the run has made all its updates."""
        return (global_step if self.by_updates else global_step + skipped) >= self.max_steps

    def cadence(self, amount: float) -> int:
        """Updates between two actions, from a count (>= 1) or a share of T (< 1, rounded up)."""
        return math.ceil(self.max_steps * amount) if amount < 1 else int(amount)

    def epoch_after(self, *, epoch: int, micro_batches_done: int, known_length: int | None) -> float:
        """The fractional epoch to claim.

        Args:
            epoch: Whole epochs finished.
            micro_batches_done: Micro-batches done in this epoch.
            known_length: Micro-batches of an epoch as seen in an earlier pass over a dataset without length.

        Returns:
            ``epoch + micro_batches_done / M``. While M is not known (the first pass over a dataset without
            length) no fraction would be true: then the number of the pass, from 1, as an integer. (``Trainer`` divides
            by T A, the micro-batches of the whole plan: transformers #41913.)
        """
        length = self.micro_batches_per_epoch or known_length
        return epoch + micro_batches_done / length if length else epoch + 1


def plan_training(config: TrainingConfig, *, rows: int | None, ranks: int = 1) -> TrainingPlan:
    """Work out the counts of a run.

    Args:
        config: The settings.
        rows: Rows of the dataset (after packing), ``None`` if unknown.
        ranks: Processes that share the data.

    Returns:
        The plan.

    Raises:
        ValueError: No micro-batch can be made, or neither the length of the data nor ``max_steps`` is given.
    """
    batch, accumulation = config.per_device_train_batch_size, config.gradient_accumulation_steps
    by_updates = config.max_steps > 0
    if rows is None:
        if not by_updates:
            raise ValueError(
                f"the dataset has no length, so max_steps must be positive, got {config.max_steps}"
            )
        return TrainingPlan(
            rows=None,
            micro_batches_per_epoch=None,
            updates_per_epoch=None,
            max_steps=config.max_steps,
            num_train_epochs=None,
            accumulation=accumulation,
            by_updates=True,
        )
    share = batch * ranks
    micro_batches = rows // share if config.dataloader_drop_last else -(-rows // share)
    if micro_batches == 0:
        raise ValueError(
            f"the dataset gives no micro-batch: {rows} rows, per_device_train_batch_size={batch}, "
            f"{ranks} rank(s), dataloader_drop_last={config.dataloader_drop_last}"
        )
    updates = max(micro_batches // accumulation + (micro_batches % accumulation > 0), 1)
    total = config.max_steps if by_updates else math.ceil(config.num_train_epochs * updates)
    epochs = -(-total // updates) if by_updates else math.ceil(config.num_train_epochs)
    return TrainingPlan(
        rows=rows,
        micro_batches_per_epoch=micro_batches,
        updates_per_epoch=updates,
        max_steps=total,
        num_train_epochs=epochs,
        accumulation=accumulation,
        by_updates=by_updates,
    )
