"""Row norms in torch: same functions as `triton_backend`.

Shape suffixes: T rows (tokens), H hidden. Statistics are float32 (float64 for float64 input).
"""

from __future__ import annotations

import torch
from torch import Tensor


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def rms_norm_forward(x_TH: Tensor, weight_H: Tensor, eps: float, offset: float) -> tuple[Tensor, Tensor]:
    """Normed rows `[T, H]` and the reciprocal root mean square `[T]`."""
    wide_TH = _wide(x_TH)
    # norm() reads the rows once and needs no squared copy
    norm_T1 = torch.linalg.vector_norm(wide_TH, dim=-1, keepdim=True)
    rstd_T1 = norm_T1.square_().div_(x_TH.shape[-1]).add_(eps).rsqrt_()
    gain_H = _wide(weight_H) + offset if offset else _wide(weight_H)
    y_TH = (wide_TH * rstd_T1).mul_(gain_H)
    return y_TH.to(x_TH.dtype), rstd_T1.squeeze(-1)


def add_rms_norm_forward(
    x_TH: Tensor, residual_TH: Tensor, weight_H: Tensor, eps: float, offset: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normed rows, new residual and reciprocal root mean square."""
    new_residual_TH = x_TH + residual_TH
    y_TH, rstd_T = rms_norm_forward(new_residual_TH, weight_H, eps, offset)
    return y_TH, new_residual_TH, rstd_T


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
    wide_TH = _wide(x_TH)
    normed_TH = wide_TH * rstd_T.unsqueeze(-1)
    grad_wide_TH = _wide(grad_TH)
    product_TH = grad_wide_TH * normed_TH
    weight_grad_H = product_TH.sum(0) if weight_needed else product_TH.new_empty(0)
    gain_H = _wide(weight_H) + offset if offset else _wide(weight_H)
    mean_T1 = (product_TH @ gain_H).div_(x_TH.shape[-1]).unsqueeze_(-1)
    del product_TH
    grad_x_TH = (grad_wide_TH * gain_H).sub_(normed_TH.mul_(mean_T1)).mul_(rstd_T.unsqueeze(-1))
    if residual_grad_TH is not None:
        grad_x_TH.add_(residual_grad_TH)
    return grad_x_TH.to(x_TH.dtype), weight_grad_H.to(weight_H.dtype)


def layer_norm_forward(
    x_TH: Tensor, weight_H: Tensor, bias_H: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normed rows, mean `[T]` and reciprocal standard deviation `[T]`."""
    y_TH, mean_T1, rstd_T1 = torch.native_layer_norm(
        _wide(x_TH), [x_TH.shape[-1]], _wide(weight_H), None if bias_H is None else _wide(bias_H), eps
    )
    return y_TH.to(x_TH.dtype), mean_T1.reshape(-1), rstd_T1.reshape(-1)


def layer_norm_backward(
    grad_TH: Tensor,
    x_TH: Tensor,
    weight_H: Tensor,
    mean_T: Tensor,
    rstd_T: Tensor,
    parameters_needed: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of input, gain and shift (the last two `[0]` if not needed)."""
    wide_TH, grad_wide_TH = _wide(x_TH), _wide(grad_TH)
    normed_TH = (wide_TH - mean_T.unsqueeze(-1)).mul_(rstd_T.unsqueeze(-1))
    weighted_TH = grad_wide_TH * _wide(weight_H)
    if parameters_needed:
        weight_grad_H = (grad_wide_TH * normed_TH).sum(0).to(weight_H.dtype)
        bias_grad_H = grad_wide_TH.sum(0).to(weight_H.dtype)
    else:
        weight_grad_H = bias_grad_H = weight_H.new_empty(0)
        bias_grad_H = weight_H.new_empty(0)
    along_T1 = (weighted_TH * normed_TH).mean(-1, keepdim=True)
    grad_x_TH = weighted_TH.sub_(weighted_TH.mean(-1, keepdim=True)).sub_(normed_TH.mul_(along_T1))
    return grad_x_TH.mul_(rstd_T.unsqueeze(-1)).to(x_TH.dtype), weight_grad_H, bias_grad_H
