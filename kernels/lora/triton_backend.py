"""Dropout whose mask is a function of a seed, in Triton: the adapters' products are the vendor's.

Shape suffixes: none; elementwise.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return, misc, operator"
# ruff: noqa: D103 - a kernel's arguments are typed by its launch; the launcher documents them

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..tiling import Tile, check_dtypes

TILE = Tile(block=1024, num_warps=4)


@triton.jit(do_not_specialize=["seed"])
def dropout_kernel(x_ptr, y_ptr, seed, size, dropout_p, keep_factor, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    # the counter has 128 bits: the low word and the high word of the index never wrap
    low, high = (at & 0x7FFFFFFF).to(tl.int32), (at >> 31).to(tl.int32)
    bits, _, _, _ = tl.philox(seed, low, high, low * 0, low * 0)
    keep = tl.uint_to_uniform_float(bits) >= dropout_p
    x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(y_ptr + at, tl.where(keep, x * keep_factor, 0.0).to(y_ptr.dtype.element_ty), mask=inside)


def seeded_dropout(x: Tensor, dropout_p: float, seed: int) -> Tensor:
    """`x · mask / (1 − p)`; the mask depends on position, p and seed only."""
    check_dtypes("dropout", x)
    x = x.contiguous()
    y = torch.empty_like(x)
    if x.numel():
        dropout_kernel[(triton.cdiv(x.numel(), TILE.block),)](
            x, y, seed, x.numel(), dropout_p, 1 / (1 - dropout_p), BLOCK=TILE.block, **TILE.options
        )
    return y
