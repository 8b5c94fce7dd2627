"""Readable references of the row norms: the formula, nothing else.

Shape suffixes: H hidden; `...` any leading dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def rms_norm(
    x: Float[Tensor, "*rows hidden"], weight: Float[Tensor, " hidden"], *, eps: float, offset: float = 0.0
) -> Float[Tensor, "*rows hidden"]:
    """`y = x / sqrt(mean(x²) + eps) · (offset + w)` (Zhang and Sennrich 2019, arXiv:1910.07467).

    Args:
        x: Rows to normalise, `[..., H]`.
        weight: Gain, `[H]`.
        eps: Added to the mean square.
        offset: 0 for Llama, 1 for Gemma.

    Returns:
        `[..., H]`, in the dtype of `x`.
    """
    rstd = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return x * rstd * (offset + weight)


def add_rms_norm(
    x: Float[Tensor, "*rows hidden"],
    residual: Float[Tensor, "*rows hidden"],
    weight: Float[Tensor, " hidden"],
    *,
    eps: float,
    offset: float = 0.0,
) -> tuple[Float[Tensor, "*rows hidden"], Float[Tensor, "*rows hidden"]]:
    """`r' = x + r`, `y = rms_norm(r')`.

    Args:
        x: Output of the sub-layer, `[..., H]`.
        residual: Residual stream, `[..., H]`.
        weight: Gain, `[H]`.
        eps: Added to the mean square.
        offset: 0 for Llama, 1 for Gemma.

    Returns:
        The normed rows and the new residual, both `[..., H]`.
    """
    new_residual = x + residual
    return rms_norm(new_residual, weight, eps=eps, offset=offset), new_residual


def layer_norm(
    x: Float[Tensor, "*rows hidden"],
    weight: Float[Tensor, " hidden"],
    bias: Float[Tensor, " hidden"] | None,
    *,
    eps: float,
) -> Float[Tensor, "*rows hidden"]:
    """`y = (x − mean) / sqrt(var + eps) · w + b` with the biased variance (Ba et al. 2016, arXiv:1607.06450).

    Args:
        x: Rows to normalise, `[..., H]`.
        weight: Gain, `[H]`.
        bias: Shift, `[H]`, or None.
        eps: Added to the variance.

    Returns:
        `[..., H]`.
    """
    centred = x - x.mean(-1, keepdim=True)
    rstd = torch.rsqrt(centred.square().mean(-1, keepdim=True) + eps)
    y = centred * rstd * weight
    return y if bias is None else y + bias
