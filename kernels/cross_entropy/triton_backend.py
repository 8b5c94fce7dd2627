"""Cross entropy in Triton: one program a row finds the log-sum-exp online; the gradient is elementwise.

Shape suffixes: T tokens, V vocabulary.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return, misc, operator"
# ruff: noqa: ANN202, D103 - a kernel's arguments are typed by its launch; the launcher documents them

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..tiling import check_dtypes, row_parts, rows_dense
from .options import LossOptions


@triton.jit
def _tanh(x):
    return 2.0 / (1.0 + tl.exp(-2.0 * x)) - 1.0


@triton.jit
def cross_entropy_forward_kernel(
    logits_TV, labels_T, loss_T, lse_T, stride, vocabulary, ignore_index, softcap, scale, smoothing, z_loss,
    SOFTCAP: tl.constexpr, SMOOTHING: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    label = tl.load(labels_T + row)
    if label == ignore_index:
        tl.store(loss_T + row, 0.0)
        tl.store(lse_T + row, 0.0)
    else:
        top = -float("inf")
        total = 0.0
        z_sum = 0.0
        for start in range(0, vocabulary, BLOCK):
            column = start + tl.arange(0, BLOCK)
            inside = column < vocabulary
            z = tl.load(logits_TV + row * stride + column, mask=inside, other=0.0).to(tl.float32) * scale
            if SOFTCAP:
                z = softcap * _tanh(z / softcap)
            if SMOOTHING:
                z_sum += tl.sum(tl.where(inside, z, 0.0), axis=0)
            z = tl.where(inside, z, -float("inf"))
            new_top = tl.maximum(top, tl.max(z, axis=0))
            # a row that begins with a whole block of -inf must not meet inf - inf
            shift = tl.where(new_top == -float("inf"), 0.0, new_top)
            total = total * tl.exp(top - shift) + tl.sum(tl.exp(z - shift), axis=0)
            top = new_top
        lse = top + tl.log(total)
        picked = tl.load(logits_TV + row * stride + label).to(tl.float32) * scale
        if SOFTCAP:
            picked = softcap * _tanh(picked / softcap)
        loss = (1.0 - smoothing) * (lse - picked) + z_loss * lse * lse
        if SMOOTHING:
            loss += smoothing * (lse - z_sum / vocabulary)
        tl.store(loss_T + row, loss)
        tl.store(lse_T + row, lse)


@triton.jit
def cross_entropy_backward_kernel(
    grad, logits_TV, labels_T, lse_T, stride, vocabulary, ignore_index, softcap, scale, smoothing, z_loss,
    SOFTCAP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < vocabulary
    at = logits_TV + row * stride + column
    label = tl.load(labels_T + row)
    if label == ignore_index:
        tl.store(at, tl.zeros((BLOCK,), dtype=logits_TV.dtype.element_ty), mask=inside)
    else:
        lse = tl.load(lse_T + row)
        z = tl.load(at, mask=inside, other=0.0).to(tl.float32) * scale
        slope = scale
        if SOFTCAP:
            bounded = _tanh(z / softcap)
            z = softcap * bounded
            slope = scale * (1.0 - bounded * bounded)
        dz = tl.exp(z - lse) * (1.0 + 2.0 * z_loss * lse) - smoothing / vocabulary
        dz = tl.where(column == label, dz - (1.0 - smoothing), dz)
        dz *= slope * tl.load(grad).to(tl.float32)
        tl.store(at, dz.to(logits_TV.dtype.element_ty), mask=inside)


def row_losses(logits_TV: Tensor, labels_T: Tensor, options: LossOptions) -> tuple[Tensor, Tensor]:
    """Loss and log-sum-exp of each row, `[T]`, 0 where the label is ignored."""
    check_dtypes("cross_entropy", logits_TV)
    rows, vocabulary = logits_TV.shape
    tile = row_parts(vocabulary)
    logits_TV, labels_T = rows_dense(logits_TV), labels_T.contiguous()
    loss_T = logits_TV.new_empty(rows, dtype=torch.float32)
    lse_T = torch.empty_like(loss_T)
    if rows:
        cross_entropy_forward_kernel[(rows,)](
            logits_TV, labels_T, loss_T, lse_T, logits_TV.stride(0), vocabulary, options.ignore_index,
            options.softcap, options.logit_scale, options.label_smoothing, options.z_loss,
            SOFTCAP=options.softcap != 0, SMOOTHING=options.label_smoothing != 0,
            BLOCK=tile.block, **tile.options,
        )  # fmt: skip
    return loss_T, lse_T


def cross_entropy_forward(logits_TV: Tensor, labels_T: Tensor, options: LossOptions) -> tuple[Tensor, Tensor]:
    """Summed loss and log-sum-exp `[T]` (0 where the label is ignored)."""
    loss_T, lse_T = row_losses(logits_TV, labels_T, options)
    return loss_T.sum(), lse_T


def cross_entropy_backward_(
    grad: Tensor, logits_TV: Tensor, labels_T: Tensor, lse_T: Tensor, options: LossOptions
) -> None:
    """Overwrite `logits` with `grad` times the gradient of the summed loss."""
    rows, vocabulary = logits_TV.shape
    tile = row_parts(vocabulary)
    if rows:
        cross_entropy_backward_kernel[(rows, triton.cdiv(vocabulary, tile.block))](
            grad, logits_TV, labels_T.contiguous(), lse_T, logits_TV.stride(0), vocabulary, options.ignore_index,
            options.softcap, options.logit_scale, options.label_smoothing, options.z_loss,
            SOFTCAP=options.softcap != 0, BLOCK=tile.block, **tile.options,
        )  # fmt: skip
