"""Readable reference of packed causal attention.

Shape suffixes: T packed tokens, N query heads, K key heads, D head dimension.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


def packed_attention(
    q: Float[Tensor, "tokens q_heads dim"],
    k: Float[Tensor, "tokens k_heads dim"],
    v: Float[Tensor, "tokens k_heads dim"],
    cu_seqlens: Int[Tensor, " sequences_plus_1"],
    *,
    scale: float | None = None,
) -> Float[Tensor, "tokens q_heads dim"]:
    """`softmax(q·kᵀ·scale + mask)·v`, where the mask keeps keys of the same sequence that are not later.

    Args:
        q: Queries, `[T, N, D]`.
        k: Keys, `[T, K, D]`.
        v: Values, `[T, K, D]`.
        cu_seqlens: Starts of the sequences and T, ascending.
        scale: Factor on the scores; None is `1/sqrt(D)`.

    Returns:
        `[T, N, D]`.
    """
    position = torch.arange(q.shape[0], device=q.device)
    sequence = torch.bucketize(position, cu_seqlens[1:].to(position.dtype), right=True)
    same = sequence.unsqueeze(0) == sequence.unsqueeze(1)
    keep = same & (position.unsqueeze(0) <= position.unsqueeze(1))
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = torch.einsum("qnd,knd->nqk", q, k) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    weights = torch.softmax(scores.masked_fill(~keep, -torch.inf), -1)
    return torch.einsum("nqk,knd->qnd", weights, v)
