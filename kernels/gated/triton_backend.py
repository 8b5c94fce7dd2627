"""Gated activations in Triton: elementwise over parts of rows, gradients written over the inputs.

Shape suffixes: T rows (tokens), F intermediate size.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return, misc, operator"
# ruff: noqa: ANN202, D103 - a kernel's arguments are typed by its launch; the launcher documents them

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from ..tiling import check_dtypes, row_parts, rows_dense

ACTIVATIONS = {"silu": 0, "gelu": 1, "gelu_tanh": 2}


@triton.jit
def _value_and_slope(gate, ACTIVATION: tl.constexpr):
    if ACTIVATION == 0:
        sigmoid = 1.0 / (1.0 + tl.exp(-gate))
        value = gate * sigmoid
        slope = sigmoid + value * (1.0 - sigmoid)
    elif ACTIVATION == 1:
        phi = 0.5 * (1.0 + tl.erf(gate * 0.7071067811865476))
        value = gate * phi
        slope = phi + gate * 0.3989422804014327 * tl.exp(-0.5 * gate * gate)
    else:
        inner = 1.5957691216057308 * (
            gate + 0.044715 * gate * gate * gate
        )  # twice sqrt(2/pi)(x + 0.044715 x^3)
        phi = 1.0 / (1.0 + tl.exp(-inner))  # (1 + tanh(u))/2 = sigmoid(2u)
        value = gate * phi
        slope = phi + value * (1.0 - phi) * 1.5957691216057308 * (1.0 + 0.134145 * gate * gate)
    return value, slope


@triton.jit
def gated_forward_kernel(
    gate_TF, up_TF, out_TF, gate_stride, up_stride, inner, ACTIVATION: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < inner
    gate = tl.load(gate_TF + row * gate_stride + column, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(up_TF + row * up_stride + column, mask=inside, other=0.0).to(tl.float32)
    value, _ = _value_and_slope(gate, ACTIVATION)
    tl.store(out_TF + row * inner + column, (value * up).to(out_TF.dtype.element_ty), mask=inside)


@triton.jit
def gated_backward_kernel(
    grad_TF, gate_TF, up_TF, grad_stride, gate_stride, up_stride, inner,
    PRODUCT: tl.constexpr, ACTIVATION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < inner
    grad_at = grad_TF + row * grad_stride + column
    gate_at = gate_TF + row * gate_stride + column
    up_at = up_TF + row * up_stride + column
    grad = tl.load(grad_at, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(gate_at, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(up_at, mask=inside, other=0.0).to(tl.float32)
    value, slope = _value_and_slope(gate, ACTIVATION)
    tl.store(gate_at, (grad * up * slope).to(gate_TF.dtype.element_ty), mask=inside)
    tl.store(up_at, (grad * value).to(up_TF.dtype.element_ty), mask=inside)
    if PRODUCT:
        tl.store(grad_at, (value * up).to(grad_TF.dtype.element_ty), mask=inside)


def gated_forward(gate_TF: Tensor, up_TF: Tensor, activation: str) -> Tensor:
    """`activation(gate) · up`."""
    check_dtypes("gated activation", gate_TF, up_TF)
    rows, inner = gate_TF.shape
    tile = row_parts(inner, 2048)
    gate_TF, up_TF = rows_dense(gate_TF), rows_dense(up_TF)
    out_TF = gate_TF.new_empty(rows, inner)
    if out_TF.numel():
        gated_forward_kernel[(rows, triton.cdiv(inner, tile.block))](
            gate_TF, up_TF, out_TF, gate_TF.stride(0), up_TF.stride(0), inner,
            ACTIVATION=ACTIVATIONS[activation], BLOCK=tile.block, **tile.options,
        )  # fmt: skip
    return out_TF


def gated_backward_(
    grad_TF: Tensor, gate_TF: Tensor, up_TF: Tensor, activation: str, keep_product: bool
) -> None:
    """Overwrite `gate` and `up` with their gradients, and `grad` with the product if `keep_product`."""
    check_dtypes("gated activation", grad_TF)
    rows, inner = gate_TF.shape
    tile = row_parts(inner, 2048)
    if not keep_product:
        grad_TF = rows_dense(grad_TF)
    if gate_TF.numel():
        gated_backward_kernel[(rows, triton.cdiv(inner, tile.block))](
            grad_TF, gate_TF, up_TF, grad_TF.stride(0), gate_TF.stride(0), up_TF.stride(0), inner,
            PRODUCT=keep_product, ACTIVATION=ACTIVATIONS[activation],
            BLOCK=tile.block, **tile.options,
        )  # fmt: skip
