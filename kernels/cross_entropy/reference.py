"""Readable reference of cross entropy.

Shape suffixes: T tokens, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


def cross_entropy(
    logits: Float[Tensor, "tokens vocab"],
    labels: Int[Tensor, " tokens"],
    *,
    ignore_index: int = -100,
    softcap: float = 0.0,
    logit_scale: float = 1.0,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    num_items_in_batch: int | Tensor | None = None,
) -> Float[Tensor, ""]:
    """`Σ_t [(1−ε)(lse − z_y) + ε(lse − mean z) + ζ·lse²] / N` over labels that count.

    `z = cap·tanh(scale·x / cap)` (`scale·x` without a cap), `lse = log Σ exp z`.

    Args:
        logits: Scores `x`, `[T, V]`.
        labels: Targets, already shifted, `[T]`.
        ignore_index: The label that does not count.
        softcap: Cap on the logits, 0 for none.
        logit_scale: Factor on the logits, before the cap.
        label_smoothing: ε, spread evenly over the vocabulary.
        z_loss: ζ, the weight of the squared log-sum-exp.
        num_items_in_batch: N; None counts the labels (1 if there is none).

    Returns:
        The loss, 0-dimensional.
    """
    z_TV = logits * logit_scale
    if softcap:
        z_TV = softcap * torch.tanh(z_TV / softcap)
    counts_T = labels != ignore_index
    lse_T = torch.logsumexp(z_TV, dim=-1)
    picked_T = z_TV.gather(1, labels.where(counts_T, 0).unsqueeze(1)).squeeze(1)
    loss_T = (1 - label_smoothing) * (lse_T - picked_T) + z_loss * lse_T.square()
    if label_smoothing:
        loss_T = loss_T + label_smoothing * (lse_T - z_TV.mean(-1))
    total = loss_T[counts_T].sum()
    return total / (counts_T.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch)
