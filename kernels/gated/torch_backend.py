"""Gated activations in torch: same functions as `triton_backend`.

Shape suffixes: T rows (tokens), F intermediate size. Work goes in blocks of rows that stay in cache, so the
temporaries are a few hundred kilobytes whatever the shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK_ELEMENTS = 1 << 17


def _blocks(x_TF: Tensor) -> Iterator[slice]:
    rows = max(1, _BLOCK_ELEMENTS // max(1, x_TF.shape[1]))
    for start in range(0, x_TF.shape[0], rows):
        yield slice(start, start + rows)


def _activate(gate_TF: Tensor, activation: str) -> Tensor:
    if activation == "silu":
        return functional.silu(gate_TF)
    return functional.gelu(gate_TF, approximate=_approximate(activation))


def _approximate(activation: str) -> str:
    return "tanh" if activation == "gelu_tanh" else "none"


def gated_forward(gate_TF: Tensor, up_TF: Tensor, activation: str) -> Tensor:
    """`activation(gate) · up`."""
    out_TF = torch.empty(gate_TF.shape, dtype=gate_TF.dtype, device=gate_TF.device)
    for block in _blocks(gate_TF):
        torch.mul(_activate(gate_TF[block], activation), up_TF[block], out=out_TF[block])
    return out_TF


def gated_backward_(
    grad_TF: Tensor, gate_TF: Tensor, up_TF: Tensor, activation: str, keep_product: bool
) -> None:
    """Overwrite `gate` and `up` with their gradients, and `grad` with the product if `keep_product`."""
    for block in _blocks(gate_TF):
        grad, gate, up = grad_TF[block], gate_TF[block], up_TF[block]
        activated = _activate(gate, activation)
        inner = grad * up
        if keep_product:
            product = activated * up
        torch.mul(grad, activated, out=up)
        if activation == "silu":
            gate.copy_(torch.ops.aten.silu_backward(inner, gate))
        else:
            gate.copy_(torch.ops.aten.gelu_backward(inner, gate, approximate=_approximate(activation)))
        if keep_product:
            grad.copy_(product)
