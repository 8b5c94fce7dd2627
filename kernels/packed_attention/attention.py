"""Packed causal attention: a library does this one, we only pack the arguments.

Shape suffixes: T packed tokens, N query heads, K key heads, D head dimension, S length of a sequence.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ..checks import check_device, check_same_shape

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def packed_attention(
    q: Float[Tensor, "tokens q_heads dim"],
    k: Float[Tensor, "tokens k_heads dim"],
    v: Float[Tensor, "tokens k_heads dim"],
    cu_seqlens: Int[Tensor, " sequences_plus_1"],
    *,
    scale: float | None = None,
) -> Float[Tensor, "tokens q_heads dim"]:
    """Causal attention inside each packed sequence; no token sees another sequence.

    On CUDA, in half precision, torch's variable-length flash kernel; elsewhere torch's fused attention once
    per sequence, for which `cu_seqlens` is read by the host. Neither builds a `[T, T]` mask.

    Args:
        q: Queries, `[T, N, D]`.
        k: Keys, `[T, K, D]`, N a multiple of K.
        v: Values, `[T, K, D]`.
        cu_seqlens: Starts of the sequences and T, ascending, `[sequences + 1]`, int32 or int64.
        scale: Factor on the scores; None is `1/sqrt(D)`.

    Returns:
        `[T, N, D]`.

    Raises:
        ValueError: Shapes, dtypes or devices do not fit, or (on the CPU) the starts do not cover T.

    Accuracy:
        That of `torch.nn.functional.scaled_dot_product_attention`.
    """
    check_same_shape("packed_attention", k=k, v=v)
    check_device("packed_attention", q, "k", k)
    if q.dim() != 3 or k.dim() != 3 or q.shape[0] != k.shape[0] or q.shape[2] != k.shape[2]:
        raise ValueError(f"packed_attention: q has shape {list(q.shape)}, k has {list(k.shape)}")
    if k.shape[1] == 0 or q.shape[1] % k.shape[1]:
        raise ValueError(
            f"packed_attention: {q.shape[1]} query heads are no multiple of {k.shape[1]} key heads"
        )
    if cu_seqlens.dim() != 1 or cu_seqlens.numel() < 1:
        raise ValueError(f"packed_attention: cu_seqlens has shape {list(cu_seqlens.shape)}, expected [S + 1]")
    if q.shape[0] == 0:
        return q + 0 * (k.sum() + v.sum())  # gradients of k and v are empty, not missing
    if _has_variable_length(q):
        return _variable_length(q, k, v, cu_seqlens, scale)
    return _one_by_one(q, k, v, cu_seqlens, scale)


def _variable_length(q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, scale: float | None) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    starts = cu_seqlens.to(q.device, torch.int32)
    longest = q.shape[0]  # a bound that needs no synchronisation with the device
    return varlen_attn(  # type: ignore[return-value]
        q, k, v, starts, starts, longest, longest, scale=scale, window_size=(-1, 0), enable_gqa=True
    )


def _has_variable_length(q: Tensor) -> bool:
    if not q.is_cuda or q.dtype not in (torch.bfloat16, torch.float16):
        return False
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # torch before 2.10
        return False
    return "enable_gqa" in inspect.signature(varlen_attn).parameters


def _one_by_one(q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, scale: float | None) -> Tensor:
    starts = cu_seqlens.tolist()
    lengths = [b - a for a, b in itertools.pairwise(starts)]
    if starts[0] != 0 or starts[-1] != q.shape[0] or min(lengths, default=0) < 0:
        raise ValueError(
            f"packed_attention: cu_seqlens must ascend from 0 to {q.shape[0]}, got {starts[:8]}"
            f"{' …' if len(starts) > 8 else ''}"
        )
    gqa = q.shape[1] != k.shape[1]
    attend = functools.partial(scaled_dot_product_attention, is_causal=True, scale=scale, enable_gqa=gqa)
    parts = [
        attend(*(x.transpose(0, 1).unsqueeze(0) for x in qkv)).squeeze(0).transpose(0, 1)
        for qkv in zip(*(torch.split(x, lengths) for x in (q, k, v)), strict=True)
        if qkv[0].shape[0]
    ]
    return torch.cat(parts)
