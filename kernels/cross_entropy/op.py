"""Cross entropy as a torch op with an autograd formula.

Shape suffixes: T tokens, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..backend import active_backend, implementation
from ..checks import check_device
from .options import LossOptions, check_labels, divisor

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@torch.library.custom_op("stepaudit::cross_entropy", mutates_args=())
def _cross_entropy(
    logits: Tensor,
    labels: Tensor,
    ignore_index: int,
    softcap: float,
    logit_scale: float,
    label_smoothing: float,
    z_loss: float,
    backend: str,
) -> tuple[Tensor, Tensor]:
    options = LossOptions.unpack((ignore_index, softcap, logit_scale, label_smoothing, z_loss))
    total, lse = implementation("cross_entropy", backend).cross_entropy_forward(logits, labels, options)
    return total, lse


@_cross_entropy.register_fake
def _(
    logits: Tensor,
    labels: Tensor,
    ignore_index: int,
    softcap: float,
    logit_scale: float,
    label_smoothing: float,
    z_loss: float,
    backend: str,
) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return logits.new_empty((), dtype=dtype), logits.new_empty(labels.shape, dtype=dtype)


@torch.library.custom_op("stepaudit::cross_entropy_backward_", mutates_args=("logits",))
def _cross_entropy_backward_(
    grad: Tensor,
    logits: Tensor,
    labels: Tensor,
    lse: Tensor,
    ignore_index: int,
    softcap: float,
    logit_scale: float,
    label_smoothing: float,
    z_loss: float,
    backend: str,
) -> None:
    options = LossOptions.unpack((ignore_index, softcap, logit_scale, label_smoothing, z_loss))
    implementation("cross_entropy", backend).cross_entropy_backward_(grad, logits, labels, lse, options)


@_cross_entropy_backward_.register_fake
def _(
    grad: Tensor,
    logits: Tensor,
    labels: Tensor,
    lse: Tensor,
    ignore_index: int,
    softcap: float,
    logit_scale: float,
    label_smoothing: float,
    z_loss: float,
    backend: str,
) -> None:
    return None


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    logits, labels, *ctx.options, ctx.backend = inputs
    ctx.save_for_backward(logits, labels, output[1])
    ctx.set_materialize_grads(False)


def _grad(ctx: Any, grad: Tensor | None, _lse: None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 8
    logits, labels, lse = ctx.saved_tensors
    logits = logits.detach()
    if logits.stride(-1) != 1 or (logits.shape[0] > 1 and logits.stride(0) < logits.shape[1]):
        logits = logits.clone(memory_format=torch.contiguous_format)  # elements overlap, or rows are strided
    _cross_entropy_backward_(grad, logits, labels, lse, *ctx.options, ctx.backend)
    return (logits, *(None,) * 7)


_cross_entropy.register_autograd(_grad, setup_context=_setup)


def cross_entropy(
    logits: Float[Tensor, "tokens vocab"],
    labels: Int[Tensor, " tokens"],
    *,
    ignore_index: int = -100,
    softcap: float = 0.0,
    logit_scale: float = 1.0,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    num_items_in_batch: int | Tensor | None = None,
) -> Float[Tensor, ""]:
    """`Σ_t [(1−ε)(lse − z_y) + ε(lse − mean z) + ζ·lse²] / N` over the labels that count.

    `z = cap·tanh(scale·x / cap)` (`scale·x` without a cap), `lse = log Σ exp z`.

    `backward()` **writes the gradient over `logits`**: they hold until then, and must not be read after.
    Autograd's version counters turn a second backward, or another op that saved the logits, into an error.

    Args:
        logits: Scores `x`, `[T, V]`; overwritten by `backward()`.
        labels: Targets, already shifted, int64 `[T]`.
        ignore_index: The label that does not count.
        softcap: Cap on the logits, 0 for none.
        logit_scale: Factor on the logits, before the cap.
        label_smoothing: ε, spread evenly over the vocabulary.
        z_loss: ζ, the weight of the squared log-sum-exp.
        num_items_in_batch: N, an int or a 0-dimensional tensor (never synchronised with); None counts the
            labels. With None and no label that counts, loss and gradient are 0 (torch gives NaN).

    Returns:
        The loss, 0-dimensional, float32 (float64 for float64 logits).

    Raises:
        ValueError: Shapes, dtypes, devices or options do not fit; on the CPU also a label out of range.

    Accuracy:
        float32 inside; the gradient is rounded once, to the dtype of `logits`.

    Source: z-loss: Chowdhery et al. 2022, arXiv:2204.02311; softcap: Gemma 2, arXiv:2408.00118.
    """
    if logits.dim() != 2 or logits.shape[1] == 0:
        raise ValueError(f"cross_entropy: logits have shape {list(logits.shape)}, expected [T, V] with V > 0")
    check_device("cross_entropy", logits, "labels", labels)
    check_labels("cross_entropy", labels, logits.shape[0], logits.shape[1], ignore_index)
    options = LossOptions(
        ignore_index=ignore_index,
        softcap=softcap,
        logit_scale=logit_scale,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
    )
    options.check("cross_entropy")
    total: Tensor
    total, _ = _cross_entropy(logits, labels, *options.flat(), active_backend(logits.device).value)
    return total / divisor("cross_entropy", labels, ignore_index, num_items_in_batch)
