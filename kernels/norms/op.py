"""Row norms as torch ops with autograd formulas.

Shape suffixes: T rows (tokens), H hidden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..backend import active_backend, implementation
from ..checks import check_rows, check_same_shape

if TYPE_CHECKING:
    from jaxtyping import Float


@torch.library.custom_op("stepaudit::rms_norm", mutates_args=())
def _rms_norm(x: Tensor, weight: Tensor, eps: float, offset: float, backend: str) -> tuple[Tensor, Tensor]:
    return implementation("norms", backend).rms_norm_forward(x, weight, eps, offset)  # type: ignore[no-any-return]


@_rms_norm.register_fake
def _(x: Tensor, weight: Tensor, eps: float, offset: float, backend: str) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x, memory_format=torch.contiguous_format), _statistic(x)


@torch.library.custom_op("stepaudit::add_rms_norm", mutates_args=())
def _add_rms_norm(
    x: Tensor, residual: Tensor, weight: Tensor, eps: float, offset: float, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    module = implementation("norms", backend)
    return module.add_rms_norm_forward(x, residual, weight, eps, offset)  # type: ignore[no-any-return]


@_add_rms_norm.register_fake
def _(
    x: Tensor, residual: Tensor, weight: Tensor, eps: float, offset: float, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    return y, torch.empty_like(y), _statistic(x)


@torch.library.custom_op("stepaudit::rms_norm_backward", mutates_args=())
def _rms_norm_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    rstd: Tensor,
    offset: float,
    residual_grad: Tensor | None,
    weight_needed: bool,
    backend: str,
) -> tuple[Tensor, Tensor]:
    module = implementation("norms", backend)
    return module.rms_norm_backward(  # type: ignore[no-any-return]
        grad, x, weight, rstd, offset, residual_grad, weight_needed
    )


@_rms_norm_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    rstd: Tensor,
    offset: float,
    residual_grad: Tensor | None,
    weight_needed: bool,
    backend: str,
) -> tuple[Tensor, Tensor]:
    grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    return grad_x, torch.empty_like(weight) if weight_needed else weight.new_empty(0)


@torch.library.custom_op("stepaudit::layer_norm", mutates_args=())
def _layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor | None, eps: float, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    return implementation("norms", backend).layer_norm_forward(x, weight, bias, eps)  # type: ignore[no-any-return]


@_layer_norm.register_fake
def _(
    x: Tensor, weight: Tensor, bias: Tensor | None, eps: float, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x, memory_format=torch.contiguous_format), _statistic(x), _statistic(x)


@torch.library.custom_op("stepaudit::layer_norm_backward", mutates_args=())
def _layer_norm_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    mean: Tensor,
    rstd: Tensor,
    parameters_needed: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    module = implementation("norms", backend)
    return module.layer_norm_backward(grad, x, weight, mean, rstd, parameters_needed)  # type: ignore[no-any-return]


@_layer_norm_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    mean: Tensor,
    rstd: Tensor,
    parameters_needed: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    size = weight.shape[0] if parameters_needed else 0
    grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    return grad_x, weight.new_empty(size), weight.new_empty(size)


def _statistic(x: Tensor) -> Tensor:
    dtype = torch.float64 if x.dtype is torch.float64 else torch.float32
    return x.new_empty(x.shape[0], dtype=dtype)


def _rms_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weight, _, ctx.offset, ctx.backend = inputs
    ctx.save_for_backward(x, weight, output[1])
    ctx.set_materialize_grads(False)


def _rms_grad(ctx: Any, grad: Tensor | None, _rstd: None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return None, None, None, None, None
    x, weight, rstd = ctx.saved_tensors
    needed = ctx.needs_input_grad[1]
    dx, dw = _rms_norm_backward(grad, x, weight, rstd, ctx.offset, None, needed, ctx.backend)
    return dx, dw if needed else None, None, None, None


def _add_rms_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, _, weight, _, ctx.offset, ctx.backend = inputs
    ctx.save_for_backward(output[1], weight, output[2])
    ctx.set_materialize_grads(False)


def _add_rms_grad(
    ctx: Any, grad: Tensor | None, residual_grad: Tensor | None, _rstd: None
) -> tuple[Tensor | None, ...]:
    if grad is None:
        return residual_grad, residual_grad, None, None, None, None
    x, weight, rstd = ctx.saved_tensors
    needed = ctx.needs_input_grad[2]
    dx, dw = _rms_norm_backward(grad, x, weight, rstd, ctx.offset, residual_grad, needed, ctx.backend)
    return dx, dx, dw if needed else None, None, None, None


def _layer_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weight, bias, _, ctx.backend = inputs
    ctx.has_bias = bias is not None
    ctx.save_for_backward(x, weight, output[1], output[2])
    ctx.set_materialize_grads(False)


def _layer_grad(ctx: Any, grad: Tensor | None, _mean: None, _rstd: None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return None, None, None, None, None
    x, weight, mean, rstd = ctx.saved_tensors
    need_w, need_b = ctx.needs_input_grad[1], ctx.needs_input_grad[2]
    dx, dw, db = _layer_norm_backward(grad, x, weight, mean, rstd, need_w or need_b, ctx.backend)
    return dx, dw if need_w else None, db if need_b and ctx.has_bias else None, None, None


_rms_norm.register_autograd(_rms_grad, setup_context=_rms_setup)
_add_rms_norm.register_autograd(_add_rms_grad, setup_context=_add_rms_setup)
_layer_norm.register_autograd(_layer_grad, setup_context=_layer_setup)


def rms_norm(
    x: Float[Tensor, "*rows hidden"], weight: Float[Tensor, " hidden"], *, eps: float, offset: float = 0.0
) -> Float[Tensor, "*rows hidden"]:
    """`y = x / sqrt(mean(x²) + eps) · (offset + w)`.

    Args:
        x: Rows to normalise, `[..., H]`.
        weight: Gain, `[H]`.
        eps: Added to the mean square.
        offset: 0 for Llama, 1 for the Gemma variant.

    Returns:
        `[..., H]`, contiguous, in the dtype of `x`.

    Raises:
        ValueError: Shapes, dtypes or devices do not fit.

    Accuracy:
        float32 inside, one rounding to the dtype of `x` at the end (Hugging Face's Llama norm rounds
        before the gain too, so half-precision results differ from it by one unit in the last place).

    Source: Zhang and Sennrich 2019, arXiv:1910.07467.
    """
    check_rows("rms_norm", x, weight=weight)
    y: Tensor
    y, _ = _rms_norm(x.reshape(-1, x.shape[-1]), weight, eps, offset, active_backend(x.device).value)
    return y.view(x.shape)


def add_rms_norm(
    x: Float[Tensor, "*rows hidden"],
    residual: Float[Tensor, "*rows hidden"],
    weight: Float[Tensor, " hidden"],
    *,
    eps: float,
    offset: float = 0.0,
) -> tuple[Float[Tensor, "*rows hidden"], Float[Tensor, "*rows hidden"]]:
    """`r' = x + r`, `y = rms_norm(r')`, in one pass.

    Args:
        x: Output of the sub-layer, `[..., H]`.
        residual: Residual stream, `[..., H]`, same dtype.
        weight: Gain, `[H]`.
        eps: Added to the mean square.
        offset: 0 for Llama, 1 for the Gemma variant.

    Returns:
        The normed rows and the new residual, both `[..., H]`.

    Raises:
        ValueError: Shapes, dtypes or devices do not fit.

    Accuracy:
        The sum is rounded to the dtype of `x` before it is normed, as two separate ops would do.
    """
    check_same_shape("add_rms_norm", x=x, residual=residual)
    check_rows("add_rms_norm", x, weight=weight)
    hidden = x.shape[-1]
    backend = active_backend(x.device).value
    y, r, _ = _add_rms_norm(x.reshape(-1, hidden), residual.reshape(-1, hidden), weight, eps, offset, backend)
    return y.view(x.shape), r.view(x.shape)


def layer_norm(
    x: Float[Tensor, "*rows hidden"],
    weight: Float[Tensor, " hidden"],
    bias: Float[Tensor, " hidden"] | None,
    *,
    eps: float,
) -> Float[Tensor, "*rows hidden"]:
    """`y = (x − mean) / sqrt(var + eps) · w + b`, biased variance.

    Args:
        x: Rows to normalise, `[..., H]`.
        weight: Gain, `[H]`.
        bias: Shift, `[H]`, or None.
        eps: Added to the variance.

    Returns:
        `[..., H]`, contiguous, in the dtype of `x`.

    Raises:
        ValueError: Shapes, dtypes or devices do not fit.

    Accuracy:
        float32 inside, two-pass variance, one rounding at the end.

    Source: Ba, Kiros and Hinton 2016, arXiv:1607.06450.
    """
    check_rows("layer_norm", x, weight=weight, bias=bias)
    rows = x.reshape(-1, x.shape[-1])
    y: Tensor
    y, _, _ = _layer_norm(rows, weight, bias, eps, active_backend(x.device).value)
    return y.view(x.shape)
