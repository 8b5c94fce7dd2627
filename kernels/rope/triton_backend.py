"""Rotary position embedding in Triton: one program a token rotates all its query and key heads.

Shape suffixes: B batch, N query heads, K key heads, L positions, D head dimension.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return, misc, operator"
# ruff: noqa: ANN202, D103 - a kernel's arguments are typed by its launch; the launcher documents them

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..tiling import check_dtypes, heads


@triton.jit
def _rotate(
    x_ptr, y_ptr, cos_1, cos_2, sin_1, sin_2, x_head, x_dim, y_head, y_dim, count, column, inside, half,
    INVERSE: tl.constexpr, HEADS: tl.constexpr,
):  # fmt: skip
    for first in range(0, count, HEADS):
        head = first + tl.arange(0, HEADS)
        mask = (head < count)[:, None] & inside[None, :]
        x_at = x_ptr + head[:, None] * x_head + column[None, :] * x_dim
        y_at = y_ptr + head[:, None] * y_head + column[None, :] * y_dim
        x_1 = tl.load(x_at, mask=mask, other=0.0).to(tl.float32)
        x_2 = tl.load(x_at + half * x_dim, mask=mask, other=0.0).to(tl.float32)
        if INVERSE:
            y_1 = x_1 * cos_1[None, :] + x_2 * sin_2[None, :]
            y_2 = x_2 * cos_2[None, :] - x_1 * sin_1[None, :]
        else:
            y_1 = x_1 * cos_1[None, :] - x_2 * sin_1[None, :]
            y_2 = x_2 * cos_2[None, :] + x_1 * sin_2[None, :]
        tl.store(y_at, y_1.to(y_ptr.dtype.element_ty), mask=mask)
        tl.store(y_at + half * y_dim, y_2.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def rope_kernel(
    q_BNLD, k_BKLD, cos_BLD, sin_BLD, q_out_BNLD, k_out_BKLD, length, half, q_heads, k_heads,
    q_b, q_n, q_l, q_d, k_b, k_n, k_l, k_d, qo_b, qo_n, qo_l, qo_d, ko_b, ko_n, ko_l, ko_d,
    cos_b, cos_l, sin_b, sin_l,
    INVERSE: tl.constexpr, Q_HEADS: tl.constexpr, K_HEADS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    b, position = token // length, token % length
    column = tl.arange(0, BLOCK)
    inside = column < half
    cos_at = cos_BLD + b * cos_b + position * cos_l + column
    sin_at = sin_BLD + b * sin_b + position * sin_l + column
    cos_1 = tl.load(cos_at, mask=inside, other=0.0).to(tl.float32)
    cos_2 = tl.load(cos_at + half, mask=inside, other=0.0).to(tl.float32)
    sin_1 = tl.load(sin_at, mask=inside, other=0.0).to(tl.float32)
    sin_2 = tl.load(sin_at + half, mask=inside, other=0.0).to(tl.float32)
    _rotate(
        q_BNLD + b * q_b + position * q_l, q_out_BNLD + b * qo_b + position * qo_l, cos_1, cos_2, sin_1, sin_2,
        q_n, q_d, qo_n, qo_d, q_heads, column, inside, half, INVERSE, Q_HEADS,
    )  # fmt: skip
    _rotate(
        k_BKLD + b * k_b + position * k_l, k_out_BKLD + b * ko_b + position * ko_l, cos_1, cos_2, sin_1, sin_2,
        k_n, k_d, ko_n, ko_d, k_heads, column, inside, half, INVERSE, K_HEADS,
    )  # fmt: skip


def rope_rotate(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    """Rotated q and k; `inverse` applies the transpose, which is the backward pass."""
    check_dtypes("rope", q, k, cos, sin)
    batch, q_heads, length, dim = q.shape
    cos, sin = (x if x.stride(-1) == 1 else x.contiguous() for x in (cos, sin))
    q_out, k_out = torch.empty_like(q), torch.empty_like(k)
    q_at_once, tile = heads(q_heads, dim // 2)
    k_at_once, _ = heads(k.shape[1], dim // 2)
    # a table shared by the batch is read again for each sequence
    strides = [s for x in (cos, sin) for s in (x.stride(0) if x.shape[0] > 1 else 0, x.stride(1))]
    if batch * length * dim and (q_heads or k.shape[1]):
        rope_kernel[(batch * length,)](
            q, k, cos, sin, q_out, k_out, length, dim // 2, q_heads, k.shape[1],
            *q.stride(), *k.stride(), *q_out.stride(), *k_out.stride(), *strides,
            INVERSE=inverse, Q_HEADS=q_at_once, K_HEADS=k_at_once, BLOCK=tile.block, **tile.options,
        )  # fmt: skip
    return q_out, k_out
