"""Readable reference of the fused head and loss.

Shape suffixes: T tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..cross_entropy.reference import cross_entropy

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


def fused_linear_cross_entropy(
    hidden: Float[Tensor, "tokens hidden"],
    weight: Float[Tensor, "vocab hidden"],
    labels: Int[Tensor, " tokens"],
    *,
    bias: Float[Tensor, " vocab"] | None = None,
    ignore_index: int = -100,
    softcap: float = 0.0,
    logit_scale: float = 1.0,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    num_items_in_batch: int | Tensor | None = None,
    chunk_tokens: int | None = None,
) -> Float[Tensor, ""]:
    """`cross_entropy(hidden · weightᵀ + bias, labels)`.

    Args:
        hidden: Last hidden states, `[T, H]`.
        weight: Head, `[V, H]`.
        labels: Targets, already shifted, `[T]`.
        bias: Of the head, `[V]`, or None.
        ignore_index: As in `cross_entropy`.
        softcap: As in `cross_entropy`.
        logit_scale: As in `cross_entropy`.
        label_smoothing: As in `cross_entropy`.
        z_loss: As in `cross_entropy`.
        num_items_in_batch: As in `cross_entropy`.
        chunk_tokens: Without effect here.

    Returns:
        The loss, 0-dimensional.
    """
    logits_TV = hidden @ weight.T
    if bias is not None:
        logits_TV = logits_TV + bias
    return cross_entropy(
        logits_TV,
        labels,
        ignore_index=ignore_index,
        softcap=softcap,
        logit_scale=logit_scale,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        num_items_in_batch=num_items_in_batch,
    )
