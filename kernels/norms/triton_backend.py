"""Row norms in Triton: one program a row forward, a few rows a program backward.

Shape suffixes: T rows (tokens), H hidden, P programs. Statistics and sums are float32.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return, misc, operator"
# ruff: noqa: D103 - a kernel's arguments are typed by its launch; the launcher documents them

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..tiling import check_dtypes, programs, rows_dense, whole_row


@triton.jit
def rms_norm_forward_kernel(
    x_TH, residual_TH, weight_H, y_TH, sum_TH, rstd_T, x_stride, r_stride, hidden, eps, offset,
    ADD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < hidden
    x = tl.load(x_TH + row * x_stride + column, mask=inside, other=0.0).to(tl.float32)
    if ADD:
        x += tl.load(residual_TH + row * r_stride + column, mask=inside, other=0.0).to(tl.float32)
        x = x.to(sum_TH.dtype.element_ty)
        tl.store(sum_TH + row * hidden + column, x, mask=inside)
        x = x.to(tl.float32)
    rstd = 1.0 / tl.sqrt(tl.sum(x * x, axis=0) / hidden + eps)
    gain = tl.load(weight_H + column, mask=inside, other=0.0).to(tl.float32) + offset
    tl.store(y_TH + row * hidden + column, (x * rstd * gain).to(y_TH.dtype.element_ty), mask=inside)
    tl.store(rstd_T + row, rstd)


@triton.jit
def rms_norm_backward_kernel(
    grad_TH, x_TH, weight_H, rstd_T, residual_grad_TH, grad_x_TH, partial_PH,
    grad_stride, x_stride, r_stride, rows, hidden, offset,
    ADD: tl.constexpr, WEIGHT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    inside = column < hidden
    gain = tl.load(weight_H + column, mask=inside, other=0.0).to(tl.float32) + offset
    partial = tl.zeros((BLOCK,), dtype=tl.float32)
    for row_ in range(program, rows, tl.num_programs(0)):
        row = tl.cast(row_, tl.int64)
        grad = tl.load(grad_TH + row * grad_stride + column, mask=inside, other=0.0).to(tl.float32)
        rstd = tl.load(rstd_T + row)
        normed = tl.load(x_TH + row * x_stride + column, mask=inside, other=0.0).to(tl.float32) * rstd
        if WEIGHT:
            partial += grad * normed
        grad *= gain
        grad = (grad - normed * (tl.sum(grad * normed, axis=0) / hidden)) * rstd
        if ADD:
            grad += tl.load(residual_grad_TH + row * r_stride + column, mask=inside, other=0.0).to(tl.float32)
        tl.store(grad_x_TH + row * hidden + column, grad.to(grad_x_TH.dtype.element_ty), mask=inside)
    if WEIGHT:
        tl.store(partial_PH + program * hidden + column, partial, mask=inside)


@triton.jit
def layer_norm_forward_kernel(
    x_TH, weight_H, bias_H, y_TH, mean_T, rstd_T, x_stride, hidden, eps,
    BIAS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < hidden
    x = tl.load(x_TH + row * x_stride + column, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(x, axis=0) / hidden
    x = tl.where(inside, x - mean, 0.0)
    rstd = 1.0 / tl.sqrt(tl.sum(x * x, axis=0) / hidden + eps)
    y = x * rstd * tl.load(weight_H + column, mask=inside, other=0.0).to(tl.float32)
    if BIAS:
        y += tl.load(bias_H + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(y_TH + row * hidden + column, y.to(y_TH.dtype.element_ty), mask=inside)
    tl.store(mean_T + row, mean)
    tl.store(rstd_T + row, rstd)


@triton.jit
def layer_norm_backward_kernel(
    grad_TH, x_TH, weight_H, mean_T, rstd_T, grad_x_TH, weight_partial_PH, bias_partial_PH,
    grad_stride, x_stride, rows, hidden,
    PARAMETERS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    inside = column < hidden
    gain = tl.load(weight_H + column, mask=inside, other=0.0).to(tl.float32)
    weight_partial = tl.zeros((BLOCK,), dtype=tl.float32)
    bias_partial = tl.zeros((BLOCK,), dtype=tl.float32)
    for row_ in range(program, rows, tl.num_programs(0)):
        row = tl.cast(row_, tl.int64)
        grad = tl.load(grad_TH + row * grad_stride + column, mask=inside, other=0.0).to(tl.float32)
        mean, rstd = tl.load(mean_T + row), tl.load(rstd_T + row)
        x = tl.load(x_TH + row * x_stride + column, mask=inside, other=0.0).to(tl.float32)
        normed = tl.where(inside, (x - mean) * rstd, 0.0)
        if PARAMETERS:
            weight_partial += grad * normed
            bias_partial += grad
        grad *= gain
        along = tl.sum(grad * normed, axis=0) / hidden
        grad = (grad - tl.sum(grad, axis=0) / hidden - normed * along) * rstd
        tl.store(grad_x_TH + row * hidden + column, grad.to(grad_x_TH.dtype.element_ty), mask=inside)
    if PARAMETERS:
        tl.store(weight_partial_PH + program * hidden + column, weight_partial, mask=inside)
        tl.store(bias_partial_PH + program * hidden + column, bias_partial, mask=inside)


def _statistic(x_TH: Tensor) -> Tensor:
    return x_TH.new_empty(x_TH.shape[0], dtype=torch.float32)


def _rms(
    x_TH: Tensor, residual_TH: Tensor | None, weight_H: Tensor, eps: float, offset: float
) -> tuple[Tensor, Tensor, Tensor]:
    check_dtypes("rms_norm", x_TH, residual_TH, weight_H)
    rows, hidden = x_TH.shape
    tile = whole_row("rms_norm", hidden)
    x_TH, weight_H = rows_dense(x_TH), weight_H.contiguous()
    y_TH = x_TH.new_empty(rows, hidden)
    add = residual_TH is not None
    r_TH = rows_dense(residual_TH) if residual_TH is not None else x_TH
    sum_TH = torch.empty_like(y_TH) if add else y_TH
    rstd_T = _statistic(x_TH)
    if rows:
        rms_norm_forward_kernel[(rows,)](
            x_TH, r_TH, weight_H, y_TH, sum_TH, rstd_T, x_TH.stride(0), r_TH.stride(0), hidden, eps, offset,
            ADD=add, BLOCK=tile.block, **tile.options,
        )  # fmt: skip
    return y_TH, sum_TH, rstd_T


def rms_norm_forward(x_TH: Tensor, weight_H: Tensor, eps: float, offset: float) -> tuple[Tensor, Tensor]:
    """Normed rows `[T, H]` and the reciprocal root mean square `[T]`."""
    y_TH, _, rstd_T = _rms(x_TH, None, weight_H, eps, offset)
    return y_TH, rstd_T


def add_rms_norm_forward(
    x_TH: Tensor, residual_TH: Tensor, weight_H: Tensor, eps: float, offset: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normed rows, new residual and reciprocal root mean square."""
    return _rms(x_TH, residual_TH, weight_H, eps, offset)


def rms_norm_backward(
    grad_TH: Tensor,
    x_TH: Tensor,
    weight_H: Tensor,
    rstd_T: Tensor,
    offset: float,
    residual_grad_TH: Tensor | None,
    weight_needed: bool,
) -> tuple[Tensor, Tensor]:
    """Gradient of the input (plus the residual's own gradient) and of the gain (`[0]` if not needed)."""
    rows, hidden = x_TH.shape
    tile = whole_row("rms_norm", hidden)
    count = programs(rows, x_TH.device)
    grad_TH, x_TH, weight_H = rows_dense(grad_TH), rows_dense(x_TH), weight_H.contiguous()
    r_TH = grad_TH if residual_grad_TH is None else rows_dense(residual_grad_TH)
    grad_x_TH = x_TH.new_empty(rows, hidden)
    partial_PH = x_TH.new_zeros((count, hidden) if weight_needed else (0,), dtype=torch.float32)
    if rows:
        rms_norm_backward_kernel[(count,)](
            grad_TH, x_TH, weight_H, rstd_T, r_TH, grad_x_TH, partial_PH,
            grad_TH.stride(0), x_TH.stride(0), r_TH.stride(0), rows, hidden, offset,
            ADD=residual_grad_TH is not None, WEIGHT=weight_needed, BLOCK=tile.block, **tile.options,
        )  # fmt: skip
    return grad_x_TH, (partial_PH.sum(0) if weight_needed else partial_PH).to(weight_H.dtype)


def layer_norm_forward(
    x_TH: Tensor, weight_H: Tensor, bias_H: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normed rows, mean `[T]` and reciprocal standard deviation `[T]`."""
    check_dtypes("layer_norm", x_TH, weight_H, bias_H)
    rows, hidden = x_TH.shape
    tile = whole_row("layer_norm", hidden)
    x_TH, weight_H = rows_dense(x_TH), weight_H.contiguous()
    y_TH, mean_T, rstd_T = x_TH.new_empty(rows, hidden), _statistic(x_TH), _statistic(x_TH)
    if rows:
        layer_norm_forward_kernel[(rows,)](
            x_TH, weight_H, weight_H if bias_H is None else bias_H.contiguous(), y_TH, mean_T, rstd_T,
            x_TH.stride(0), hidden, eps,
            BIAS=bias_H is not None, BLOCK=tile.block, **tile.options,
        )  # fmt: skip
    return y_TH, mean_T, rstd_T


def layer_norm_backward(
    grad_TH: Tensor, x_TH: Tensor, weight_H: Tensor, mean_T: Tensor, rstd_T: Tensor, parameters_needed: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input, gain and shift (the last two `[0]` if not needed)."""
    rows, hidden = x_TH.shape
    tile = whole_row("layer_norm", hidden)
    count = programs(rows, x_TH.device)
    grad_TH, x_TH, weight_H = rows_dense(grad_TH), rows_dense(x_TH), weight_H.contiguous()
    grad_x_TH = x_TH.new_empty(rows, hidden)
    shape = (count, hidden) if parameters_needed else (0,)
    weight_PH = x_TH.new_zeros(shape, dtype=torch.float32)
    bias_PH = x_TH.new_zeros(shape, dtype=torch.float32)
    if rows:
        layer_norm_backward_kernel[(count,)](
            grad_TH, x_TH, weight_H, mean_T, rstd_T, grad_x_TH, weight_PH, bias_PH,
            grad_TH.stride(0), x_TH.stride(0), rows, hidden,
            PARAMETERS=parameters_needed, BLOCK=tile.block, **tile.options,
        )  # fmt: skip
    if not parameters_needed:
        return grad_x_TH, weight_PH.to(weight_H.dtype), bias_PH.to(weight_H.dtype)
    return grad_x_TH, weight_PH.sum(0).to(weight_H.dtype), bias_PH.sum(0).to(weight_H.dtype)
