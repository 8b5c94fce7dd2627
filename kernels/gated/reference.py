"""Readable references of the gated activations.

Shape suffixes: `...` any leading dimensions, F intermediate size.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def swiglu(
    gate: Float[Tensor, "*rows inner"], up: Float[Tensor, "*rows inner"]
) -> Float[Tensor, "*rows inner"]:
    """`gate · sigmoid(gate) · up` (Shazeer 2020, arXiv:2002.05202).

    Args:
        gate: Gate projection, `[..., F]`.
        up: Up projection, `[..., F]`.

    Returns:
        `[..., F]`.
    """
    return gate * torch.sigmoid(gate) * up


def geglu(
    gate: Float[Tensor, "*rows inner"],
    up: Float[Tensor, "*rows inner"],
    *,
    approximate: Literal["none", "tanh"] = "none",
) -> Float[Tensor, "*rows inner"]:
    """`gelu(gate) · up`; exact `Φ` by erf, or its tanh approximation (Hendrycks and Gimpel, arXiv:1606.08415).

    Args:
        gate: Gate projection, `[..., F]`.
        up: Up projection, `[..., F]`.
        approximate: `none` for erf, `tanh` for the approximation.

    Returns:
        `[..., F]`.
    """
    if approximate == "none":
        phi = 0.5 * (1 + torch.erf(gate / math.sqrt(2)))
    else:
        phi = 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)))
    return gate * phi * up
