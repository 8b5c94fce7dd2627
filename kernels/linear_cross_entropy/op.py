"""Fused head and loss as a torch op with an autograd formula.

Shape suffixes: T tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..backend import active_backend, implementation
from ..checks import check_device
from ..cross_entropy.options import LossOptions, check_labels, divisor
from ..precision import compute_dtype
from .gradients import Gradients

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@torch.library.custom_op("stepaudit::linear_cross_entropy", mutates_args=())
def _linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    bias: Tensor | None,
    ignore_index: int,
    softcap: float,
    logit_scale: float,
    label_smoothing: float,
    z_loss: float,
    chunk_tokens: int,
    compute: torch.dtype,
    hidden_needed: bool,
    weight_needed: bool,
    bias_needed: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    options = LossOptions.unpack((ignore_index, softcap, logit_scale, label_smoothing, z_loss))
    wide = torch.promote_types(compute, torch.float32)
    hidden_grad = torch.zeros_like(hidden, memory_format=torch.contiguous_format) if hidden_needed else None
    weight_grad = weight.new_zeros(weight.shape, dtype=wide) if weight_needed else None
    bias_grad = weight.new_zeros(weight.shape[0], dtype=wide) if bias_needed else None
    total = implementation("linear_cross_entropy", backend).linear_cross_entropy(
        hidden.to(compute),
        weight.to(compute),
        labels,
        bias,
        options,
        chunk_tokens,
        Gradients(hidden_TH=hidden_grad, weight_VH=weight_grad, bias_V=bias_grad),
    )
    grads = (hidden.new_empty(0) if g is None else g for g in (hidden_grad, weight_grad, bias_grad))
    return (total, *grads)


@_linear_cross_entropy.register_fake
def _(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    bias: Tensor | None,
    ignore_index: int,
    softcap: float,
    logit_scale: float,
    label_smoothing: float,
    z_loss: float,
    chunk_tokens: int,
    compute: torch.dtype,
    hidden_needed: bool,
    weight_needed: bool,
    bias_needed: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    wide = torch.promote_types(compute, torch.float32)
    none = hidden.new_empty
    return (
        hidden.new_empty((), dtype=wide),
        torch.empty_like(hidden, memory_format=torch.contiguous_format) if hidden_needed else none(0),
        weight.new_empty(weight.shape, dtype=wide) if weight_needed else none(0),
        weight.new_empty(weight.shape[0], dtype=wide) if bias_needed else none(0),
    )


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, weight, _, bias = inputs[:4]
    ctx.needed = inputs[11:14]
    ctx.weight_dtype = weight.dtype
    ctx.bias_dtype = None if bias is None else bias.dtype
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*output[1:])


def _scaled(saved: Tensor, grad: Tensor) -> Tensor:
    # In place: a weight gradient is as large as the head. A second backward fails on the version counter.
    # A tracer (whose tensors are subclasses) may keep the op's outputs alive and plans its memory by itself.
    return saved.mul_(grad) if type(saved) is Tensor else saved * grad


def _grad(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 15
    hidden, weight, bias = (
        _scaled(saved.detach(), grad) if needed else None
        for saved, needed in zip(ctx.saved_tensors, ctx.needed, strict=True)
    )
    return (
        hidden,
        None if weight is None else weight.to(ctx.weight_dtype),
        None,
        None if bias is None else bias.to(ctx.bias_dtype),
        *(None,) * 11,
    )


_linear_cross_entropy.register_autograd(_grad, setup_context=_setup)


def fused_linear_cross_entropy(
    hidden: Float[Tensor, "tokens hidden"],
    weight: Float[Tensor, "vocab hidden"],
    labels: Int[Tensor, " tokens"],
    *,
    bias: Float[Tensor, " vocab"] | None = None,
    ignore_index: int = -100,
    softcap: float = 0.0,
    logit_scale: float = 1.0,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    num_items_in_batch: int | Tensor | None = None,
    chunk_tokens: int | None = None,
) -> Float[Tensor, ""]:
    """`cross_entropy(hidden · weightᵀ + bias, labels)` without the `[T, V]` logits.

    Chunks of tokens go through head, loss and gradient in turn; gradients are computed in the forward pass
    (only those that are needed: with a frozen head no `[V, H]` buffer exists) at scale 1 and multiplied by the
    incoming gradient in the backward pass, so that float16 neither under- nor overflows on account of the
    divisor or of a gradient scaler. `backward()` can run once.

    Args:
        hidden: Last hidden states, `[T, H]`.
        weight: Head, `[V, H]`.
        labels: Targets, already shifted, int64 `[T]`.
        bias: Of the head, `[V]`, or None.
        ignore_index: As in `cross_entropy`.
        softcap: As in `cross_entropy`.
        logit_scale: As in `cross_entropy`.
        label_smoothing: As in `cross_entropy`.
        z_loss: As in `cross_entropy`.
        num_items_in_batch: As in `cross_entropy`.
        chunk_tokens: Tokens a chunk; None picks 2²³ logits a chunk on the CPU, 2²⁸ on CUDA.

    Returns:
        The loss, 0-dimensional, float32 (float64 for float64 input).

    Raises:
        ValueError: Shapes, dtypes, devices or options do not fit; on the CPU also a label out of range.

    Accuracy:
        Products in the dtype of `hidden` (under autocast, of autocast); loss and softmax in float32; the weight
        gradient is summed over chunks in float32.

    Source: chunking after Wijmans et al. 2024, arXiv:2411.09009, and Hsu et al. 2024, arXiv:2410.10989.
    """
    name = "fused_linear_cross_entropy"
    if hidden.dim() != 2 or weight.dim() != 2 or weight.shape[1] != hidden.shape[1] or not weight.numel():
        raise ValueError(
            f"{name}: hidden has shape {list(hidden.shape)} and weight {list(weight.shape)};"
            " expected [T, H] and [V, H]"
        )
    check_device(name, hidden, "weight", weight)
    check_device(name, hidden, "labels", labels)
    check_labels(name, labels, hidden.shape[0], weight.shape[0], ignore_index)
    if bias is not None:
        check_device(name, hidden, "bias", bias)
        if bias.shape != weight.shape[:1]:
            raise ValueError(f"{name}: bias has shape {list(bias.shape)}, expected [{weight.shape[0]}]")
    if chunk_tokens is not None and chunk_tokens <= 0:
        raise ValueError(f"{name}: chunk_tokens must be positive, got {chunk_tokens}")
    options = LossOptions(
        ignore_index=ignore_index,
        softcap=softcap,
        logit_scale=logit_scale,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
    )
    options.check(name)
    enabled = torch.is_grad_enabled()
    total: Tensor
    total, *_ = _linear_cross_entropy(
        hidden,
        weight,
        labels,
        bias,
        *options.flat(),
        chunk_tokens or 0,
        compute_dtype(hidden),
        enabled and hidden.requires_grad,
        enabled and weight.requires_grad,
        enabled and bias is not None and bias.requires_grad,
        active_backend(hidden.device).value,
    )
    return total / divisor(name, labels, ignore_index, num_items_in_batch)
