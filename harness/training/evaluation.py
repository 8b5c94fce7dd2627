"""Token-mean loss over an evaluation set, without touching what training draws or reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .batches import Sized
from .modes import mode
from .randomness import RandomState

if TYPE_CHECKING:
    from .collation import Collator, MicroBatch, PackedCollator
    from .config import TrainingConfig
    from .losses import LossCall
    from .precision import Precision
    from .ranks import Ranks


def evaluate(
    call: LossCall,
    dataset: Any,
    config: TrainingConfig,
    *,
    collate: Collator | PackedCollator,
    precision: Precision,
    ranks: Ranks,
) -> dict[str, float]:
    """Evaluate.

    Args:
        call: Asks the model for losses.
        dataset: Map-style dataset of rows.
        config: The settings.
        collate: Makes micro-batches.
        precision: Autocast as in training.
        ranks: Each rank takes every R-th micro-batch; no row is read twice.

    Returns:
        ``eval_loss``, the mean over all label tokens of the set (0 if it has none), and
        ``eval_label_tokens``.

    Raises:
        ValueError: The dataset is empty or has no length.
    """
    if not isinstance(dataset, Sized) or len(dataset) == 0:
        raise ValueError(f"the evaluation dataset needs rows and a length, got {type(dataset).__name__}")
    before = RandomState.capture()
    loss_sum, label_tokens = 0.0, 0.0
    try:
        with torch.no_grad(), mode(call.model, training=False):
            for batch in _batches(dataset, config.per_device_eval_batch_size, collate, ranks):
                with precision.autocast():
                    loss = call(batch, divisor=max(batch.label_tokens, 1))
                if loss is not None:
                    loss_sum += float(loss) * batch.label_tokens
                    label_tokens += batch.label_tokens
    finally:
        before.restore()
    loss_sum, label_tokens = ranks.total([loss_sum, label_tokens], call.device)
    return {"eval_loss": loss_sum / label_tokens if label_tokens else 0.0, "eval_label_tokens": label_tokens}


def _batches(dataset: Any, size: int, collate: Collator | PackedCollator, ranks: Ranks) -> Any:
    starts = range(0, len(dataset), size)
    for start in starts[ranks.rank :: ranks.count]:
        rows = range(start, min(start + size, len(dataset)))
        batch: MicroBatch = collate([(row, dataset[row]) for row in rows])
        yield batch
