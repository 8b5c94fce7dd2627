"""The loss that both oracles differentiate: written here once, so that no trainer's and no model's own is trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["autocast_of", "row_losses"]

IGNORE_INDEX = -100


def row_losses(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Return Σ token losses of every row: cross entropy at each label after the causal shift.

    Args:
        model: a causal language model that returns `.logits`.
        batch: `input_ids`, `labels`, `attention_mask`, each `[rows, length]` int64.

    Returns:
        `[rows]`, in float64 for a float64 model, else in float32 (mixed precision too: a loss is summed in float32).
    """
    output: Any = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
    logits = output.logits if output.logits.dtype == torch.float64 else output.logits.float()
    labels = batch["labels"][:, 1:]
    losses = nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels.flatten(), ignore_index=IGNORE_INDEX, reduction="none"
    )
    return losses.view(labels.shape).sum(dim=1)


def autocast_of(dtype: torch.dtype | None, device: torch.device) -> torch.autocast:
    """Return the autocast context of a run: to `dtype`, or switched off whatever the caller has switched on."""
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)
