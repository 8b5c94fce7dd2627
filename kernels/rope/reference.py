"""Readable reference of rotary position embedding.

Shape suffixes: B batch, N query heads, K key heads, L positions, D head dimension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def _rotate_half(x_BNLD: Tensor) -> Tensor:
    first, second = x_BNLD.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def rope(
    q: Float[Tensor, "batch q_heads length dim"],
    k: Float[Tensor, "batch k_heads length dim"],
    cos: Float[Tensor, "one_or_batch length dim"],
    sin: Float[Tensor, "one_or_batch length dim"],
) -> tuple[Float[Tensor, "batch q_heads length dim"], Float[Tensor, "batch k_heads length dim"]]:
    """`x·cos + rotate_half(x)·sin` for q and k (Su et al. 2021, arXiv:2104.09864; half-split convention).

    Args:
        q: Queries, `[B, N, L, D]`.
        k: Keys, `[B, K, L, D]`.
        cos: Cosines gathered by position, `[B or 1, L, D]`.
        sin: Sines gathered by position, `[B or 1, L, D]`.

    Returns:
        The rotated q and k.
    """
    cos_B1LD, sin_B1LD = cos.unsqueeze(1), sin.unsqueeze(1)
    return q * cos_B1LD + _rotate_half(q) * sin_B1LD, k * cos_B1LD + _rotate_half(k) * sin_B1LD
