"""One or several adapted projections of one input, as a torch op with an autograd formula.

Shape suffixes: T tokens, I input features, O output features, R rank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..backend import active_backend
from ..checks import check_device
from ..precision import compute_dtype
from .adapter import LoraWeights, adapter_cast, adapter_grads, draw_seeds, project

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float

_Tensors = list[Tensor]
_Floats = list[float]


@torch.library.custom_op("stepaudit::lora_projections", mutates_args=())
def _lora_projections(
    x: Tensor,
    weights: _Tensors,
    biases: _Tensors,
    lora_a: _Tensors,
    lora_b: _Tensors,
    scalings: _Floats,
    dropout_p: float,
    seeds: Tensor,
    compute: torch.dtype,
    backend: str,
) -> _Tensors:
    ys, inners = [], []
    for i, weight in enumerate(weights):
        y, inner = project(
            x,
            weight,
            biases[i] if biases[i].numel() else None,
            lora_a[i],
            lora_b[i],
            scaling=scalings[i],
            dropout_p=dropout_p,
            seed=seeds[i],
            compute=compute,
            backend=backend,
        )
        ys.append(y)
        inners.append(inner)
    return ys + inners


@_lora_projections.register_fake
def _(
    x: Tensor,
    weights: _Tensors,
    biases: _Tensors,
    lora_a: _Tensors,
    lora_b: _Tensors,
    scalings: _Floats,
    dropout_p: float,
    seeds: Tensor,
    compute: torch.dtype,
    backend: str,
) -> _Tensors:
    rows = x.shape[0]
    ys = [x.new_empty(rows, w.shape[0], dtype=compute) for w in weights]
    return ys + [a.new_empty(rows, a.shape[0]) for a in lora_a]


@torch.library.custom_op("stepaudit::lora_projections_backward", mutates_args=())
def _lora_projections_backward(
    grads: _Tensors,
    x: Tensor,
    weights: _Tensors,
    lora_a: _Tensors,
    lora_b: _Tensors,
    inners: _Tensors,
    scalings: _Floats,
    dropout_p: float,
    seeds: Tensor,
    x_needed: bool,
    backend: str,
) -> _Tensors:
    grad_x = None
    grads_a, grads_b = [], []
    compute = grads[0].dtype
    x_compute = x.to(compute)
    if x_needed:
        grad_x = torch.mm(grads[0], weights[0].to(compute))
        for grad, weight in zip(grads[1:], weights[1:], strict=True):
            grad_x.addmm_(grad, weight.to(compute))
    for i, grad in enumerate(grads):
        grad_a, grad_b = adapter_grads(
            grad,
            x_compute,
            lora_a[i],
            lora_b[i],
            inners[i],
            scaling=scalings[i],
            dropout_p=dropout_p,
            seed=seeds[i],
            grad_x_TI=grad_x,
            backend=backend,
        )
        grads_a.append(grad_a)
        grads_b.append(grad_b)
    return [x.new_empty(0) if grad_x is None else grad_x.to(x.dtype), *grads_a, *grads_b]


@_lora_projections_backward.register_fake
def _(
    grads: _Tensors,
    x: Tensor,
    weights: _Tensors,
    lora_a: _Tensors,
    lora_b: _Tensors,
    inners: _Tensors,
    scalings: _Floats,
    dropout_p: float,
    seeds: Tensor,
    x_needed: bool,
    backend: str,
) -> _Tensors:
    grad_x = torch.empty_like(x, memory_format=torch.contiguous_format) if x_needed else x.new_empty(0)
    contiguous = torch.contiguous_format
    return [grad_x, *(torch.empty_like(t, memory_format=contiguous) for t in (*lora_a, *lora_b))]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: _Tensors) -> None:
    x, weights, _, lora_a, lora_b, ctx.scalings, ctx.dropout_p, seeds, _, ctx.backend = inputs
    ctx.count = len(weights)
    ctx.x_needed = x.requires_grad
    ctx.save_for_backward(x, seeds, *weights, *lora_a, *lora_b, *output[ctx.count :])
    ctx.set_materialize_grads(False)


def _grad(ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    n = ctx.count
    x, seeds, *rest = ctx.saved_tensors
    weights, lora_a, lora_b, inners = (rest[i * n : (i + 1) * n] for i in range(4))
    present = [g for g in grads[:n] if g is not None]
    if not present:
        return (None,) * 10
    filled = [
        present[0].new_zeros(x.shape[0], w.shape[0]) if g is None else g
        for g, w in zip(grads[:n], weights, strict=True)
    ]
    dx, *ab = _lora_projections_backward(
        filled,
        x,
        weights,
        lora_a,
        lora_b,
        inners,
        ctx.scalings,
        ctx.dropout_p,
        seeds,
        ctx.x_needed,
        ctx.backend,
    )
    none = [None] * n
    return dx if ctx.x_needed else None, none, none, ab[:n], ab[n:], None, None, None, None, None


_lora_projections.register_autograd(_grad, setup_context=_setup)


def project_all(
    kernel: str, x: Tensor, projections: Sequence[LoraWeights], *, dropout_p: float, training: bool
) -> list[Tensor]:
    """Outputs of adapted `projections` of `x`; checks, flattens the rows and draws the seeds."""
    if not 0 <= dropout_p < 1:
        raise ValueError(f"{kernel}: dropout_p must be in [0, 1), got {dropout_p}")
    features = x.shape[-1]
    for p in projections:
        p.check(kernel, features)
        check_device(kernel, x, "weight", p.weight)
        check_device(kernel, x, "lora_a", p.lora_a)
    p_drop = dropout_p if training else 0.0
    outputs = _lora_projections(
        x.reshape(-1, features),
        [p.weight for p in projections],
        [p.weight.new_empty(0) if p.bias is None else p.bias for p in projections],
        [adapter_cast(x, p.lora_a) for p in projections],
        [adapter_cast(x, p.lora_b) for p in projections],
        [p.scaling for p in projections],
        p_drop,
        draw_seeds(len(projections), p_drop),
        compute_dtype(x),
        active_backend(x.device).value,
    )
    return [y.view(*x.shape[:-1], y.shape[-1]) for y in outputs[: len(projections)]]


def lora_linear(
    x: Float[Tensor, "*rows features"],
    weight: Float[Tensor, "out features"],
    lora_a: Float[Tensor, "rank features"],
    lora_b: Float[Tensor, "out rank"],
    *,
    scaling: float,
    bias: Float[Tensor, " out"] | None = None,
    dropout_p: float = 0.0,
    training: bool = True,
) -> Float[Tensor, "*rows out"]:
    """`x·Wᵀ + b + s·(dropout(x)·Aᵀ)·Bᵀ` with W and b frozen.

    Saves the input and the `[T, R]` inner activation; the dropout mask is drawn again from its seed.

    Args:
        x: Input, `[..., I]`.
        weight: Frozen base, `[O, I]`.
        lora_a: A, `[R, I]`.
        lora_b: B, `[O, R]`.
        scaling: s, usually alpha / rank.
        bias: Frozen b, `[O]`, or None.
        dropout_p: Probability of dropping an input of the adapter.
        training: Whether dropout is on.

    Returns:
        `[..., O]` in the dtype of `x` (under autocast, of autocast).

    Raises:
        ValueError: Shapes or devices do not fit, or the base requires grad.

    Accuracy:
        That of the matrix products of the dtype; an adapter kept in float32 computes in float32.

    Source: Hu et al. 2021, arXiv:2106.09685.
    """
    p = LoraWeights(weight=weight, lora_a=lora_a, lora_b=lora_b, scaling=scaling, bias=bias)
    return project_all("lora_linear", x, [p], dropout_p=dropout_p, training=training)[0]


def lora_qkv(
    x: Float[Tensor, "*rows features"],
    q: LoraWeights,
    k: LoraWeights,
    v: LoraWeights,
    *,
    dropout_p: float = 0.0,
    training: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Adapted query, key and value projections of one input, which is saved once.

    Args:
        x: Input, `[..., I]`.
        q: Query projection.
        k: Key projection.
        v: Value projection.
        dropout_p: Probability of dropping an input; each adapter draws a mask of its own, as PEFT does.
        training: Whether dropout is on.

    Returns:
        Queries `[..., Oq]`, keys `[..., Ok]`, values `[..., Ov]`.

    Raises:
        ValueError: As `lora_linear`.

    Accuracy:
        As `lora_linear`; the three parts of the input's gradient are added in the dtype of the products.

    Source: Hu et al. 2021, arXiv:2106.09685.
    """
    query, key, value = project_all("lora_qkv", x, [q, k, v], dropout_p=dropout_p, training=training)
    return query, key, value
