"""The gated MLP with adapters on all three projections, as one torch op with an autograd formula.

Shape suffixes: T tokens, I input features, F intermediate size, R rank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from ..backend import active_backend, implementation
from ..checks import check_device
from ..precision import compute_dtype
from .adapter import LoraWeights, adapter_cast, adapter_grads, draw_seeds, project

if TYPE_CHECKING:
    from jaxtyping import Float

_Tensors = list[Tensor]
_Floats = list[float]
# Gradients of x, three A and three B. A list would do, but functionalisation (torch.compile) refuses an op that
# both mutates an argument and returns a list.
_Seven = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


@torch.library.custom_op("stepaudit::lora_mlp", mutates_args=())
def _lora_mlp(
    x: Tensor,
    weights: _Tensors,
    biases: _Tensors,
    lora_a: _Tensors,
    lora_b: _Tensors,
    scalings: _Floats,
    activation: str,
    dropout_p: float,
    seeds: Tensor,
    compute: torch.dtype,
    backend: str,
) -> _Tensors:
    def one(value: Tensor, i: int) -> tuple[Tensor, Tensor]:
        bias = biases[i] if biases[i].numel() else None
        return project(
            value,
            weights[i],
            bias,
            lora_a[i],
            lora_b[i],
            scaling=scalings[i],
            dropout_p=dropout_p,
            seed=seeds[i],
            compute=compute,
            backend=backend,
        )

    gate, gate_inner = one(x, 0)
    up, up_inner = one(x, 1)
    y, down_inner = one(implementation("gated", backend).gated_forward(gate, up, activation), 2)
    return [y, gate, up, gate_inner, up_inner, down_inner]


@_lora_mlp.register_fake
def _(
    x: Tensor,
    weights: _Tensors,
    biases: _Tensors,
    lora_a: _Tensors,
    lora_b: _Tensors,
    scalings: _Floats,
    activation: str,
    dropout_p: float,
    seeds: Tensor,
    compute: torch.dtype,
    backend: str,
) -> _Tensors:
    rows = x.shape[0]
    gate, up, y = (x.new_empty(rows, w.shape[0], dtype=compute) for w in weights)
    inners = [a.new_empty(rows, a.shape[0]) for a in lora_a]
    return [y, gate, up, *inners]


@torch.library.custom_op("stepaudit::lora_mlp_backward_", mutates_args=("gate", "up"))
def _lora_mlp_backward_(
    grad: Tensor,
    x: Tensor,
    gate: Tensor,
    up: Tensor,
    weights: _Tensors,
    lora_a: _Tensors,
    lora_b: _Tensors,
    inners: _Tensors,
    scalings: _Floats,
    activation: str,
    dropout_p: float,
    seeds: Tensor,
    x_needed: bool,
    backend: str,
) -> _Seven:
    compute = grad.dtype
    x_compute = x.to(compute)
    grad_b_down = grad.to(inners[2].dtype).t() @ inners[2]
    adapter = inners[2].dtype
    grad_inner = (grad.to(adapter) @ lora_b[2]).mul_(scalings[2])
    product = torch.mm(grad, weights[2].to(compute))
    if dropout_p:
        module = implementation("lora", backend)
        product.add_(module.seeded_dropout(grad_inner @ lora_a[2], dropout_p, int(seeds[2])))
    elif adapter == compute:
        product.addmm_(grad_inner, lora_a[2])
    else:
        product.add_(grad_inner @ lora_a[2])
    # gate and up become their gradients, the gradient of their product becomes the product itself
    implementation("gated", backend).gated_backward_(product, gate, up, activation, True)  # noqa: FBT003
    if dropout_p:
        product = module.seeded_dropout(product, dropout_p, int(seeds[2]))
    grad_a_down = grad_inner.t() @ product.to(adapter)
    del product
    grad_x = None
    if x_needed:
        grad_x = torch.mm(gate, weights[0].to(compute)).addmm_(up, weights[1].to(compute))
    pairs = [
        adapter_grads(
            g,
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
        for i, g in enumerate((gate, up))
    ]
    pairs.append((grad_a_down, grad_b_down.mul_(scalings[2])))
    first = x.new_empty(0) if grad_x is None else grad_x.to(x.dtype)
    (a0, b0), (a1, b1), (a2, b2) = pairs
    return first, a0, a1, a2, b0, b1, b2


@_lora_mlp_backward_.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    gate: Tensor,
    up: Tensor,
    weights: _Tensors,
    lora_a: _Tensors,
    lora_b: _Tensors,
    inners: _Tensors,
    scalings: _Floats,
    activation: str,
    dropout_p: float,
    seeds: Tensor,
    x_needed: bool,
    backend: str,
) -> _Seven:
    contiguous = torch.contiguous_format
    grad_x = torch.empty_like(x, memory_format=contiguous) if x_needed else x.new_empty(0)
    a0, a1, a2, b0, b1, b2 = (torch.empty_like(t, memory_format=contiguous) for t in (*lora_a, *lora_b))
    return grad_x, a0, a1, a2, b0, b1, b2


def _setup(ctx: Any, inputs: tuple[Any, ...], output: _Tensors) -> None:
    x, weights, _, lora_a, lora_b, ctx.scalings, ctx.activation, ctx.dropout_p, seeds, _, ctx.backend = inputs
    ctx.x_needed = x.requires_grad
    ctx.save_for_backward(x, seeds, *weights, *lora_a, *lora_b, *output[1:])
    ctx.set_materialize_grads(False)


def _grad(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    if grads[0] is None:
        return (None,) * 11
    x, seeds, *rest = ctx.saved_tensors
    weights, lora_a, lora_b = rest[:3], rest[3:6], rest[6:9]
    gate, up, *inners = (t.detach() for t in rest[9:])
    if type(gate) is not Tensor:  # a tracer may keep the op's outputs alive and plans its memory by itself
        gate, up = gate.clone(), up.clone()
    dx, *ab = _lora_mlp_backward_(
        grads[0],
        x,
        gate,
        up,
        weights,
        lora_a,
        lora_b,
        inners,
        ctx.scalings,
        ctx.activation,
        ctx.dropout_p,
        seeds,
        ctx.x_needed,
        ctx.backend,
    )
    none = [None] * 3
    return (dx if ctx.x_needed else None, none, none, ab[:3], ab[3:], *(None,) * 6)


_lora_mlp.register_autograd(_grad, setup_context=_setup)


def lora_mlp(
    x: Float[Tensor, "*rows features"],
    gate: LoraWeights,
    up: LoraWeights,
    down: LoraWeights,
    *,
    activation: Literal["silu", "gelu", "gelu_tanh"] = "silu",
    dropout_p: float = 0.0,
    training: bool = True,
) -> Float[Tensor, "*rows features"]:
    """`down(act(gate(x)) · up(x))`, each projection with its adapter: SwiGLU or GEGLU in one op.

    Saves the input, the two `[T, F]` pre-activations (which the backward pass overwrites with their
    gradients) and three `[T, R]` activations; the product `act(gate)·up` is recomputed.

    Args:
        x: Input, `[..., I]`.
        gate: Gate projection to F features.
        up: Up projection to F features.
        down: Down projection from F features.
        activation: `silu` (SwiGLU), `gelu` (GEGLU by erf) or `gelu_tanh`.
        dropout_p: Probability of dropping an input of an adapter; each draws a mask of its own.
        training: Whether dropout is on.

    Returns:
        `[..., I]` in the dtype of `x` (under autocast, of autocast).

    Raises:
        ValueError: Shapes or devices do not fit, a base requires grad, or `activation` is unknown.

    Accuracy:
        That of the matrix products of the dtype.

    Source: Hu et al. 2021, arXiv:2106.09685; Shazeer 2020, arXiv:2002.05202.
    """
    if activation not in ("silu", "gelu", "gelu_tanh"):
        raise ValueError(f"lora_mlp: activation must be 'silu', 'gelu' or 'gelu_tanh', got {activation!r}")
    if not 0 <= dropout_p < 1:
        raise ValueError(f"lora_mlp: dropout_p must be in [0, 1), got {dropout_p}")
    features = x.shape[-1]
    if gate.weight.shape[0] != up.weight.shape[0]:
        raise ValueError(
            f"lora_mlp: gate has {gate.weight.shape[0]} output features, up has {up.weight.shape[0]}"
        )
    projections = (gate, up, down)
    for p, size in zip(projections, (features, features, gate.weight.shape[0]), strict=True):
        p.check("lora_mlp", size)
        check_device("lora_mlp", x, "weight", p.weight)
    p_drop = dropout_p if training else 0.0
    y, *_ = _lora_mlp(
        x.reshape(-1, features),
        [p.weight for p in projections],
        [p.weight.new_empty(0) if p.bias is None else p.bias for p in projections],
        [adapter_cast(x, p.lora_a) for p in projections],
        [adapter_cast(x, p.lora_b) for p in projections],
        [p.scaling for p in projections],
        activation,
        p_drop,
        draw_seeds(3, p_drop),
        compute_dtype(x),
        active_backend(x.device).value,
    )
    out: Tensor = y.view(*x.shape[:-1], y.shape[-1])
    return out
