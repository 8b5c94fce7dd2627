"""Readable references of the adapters.

Shape suffixes: I input features, O output features, R rank, F intermediate size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..gated.reference import geglu, swiglu

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from .adapter import LoraWeights


def lora_linear(
    x: Float[Tensor, "*rows features"],
    weight: Float[Tensor, "out features"],
    lora_a: Float[Tensor, "rank features"],
    lora_b: Float[Tensor, "out rank"],
    *,
    scaling: float,
    bias: Float[Tensor, " out"] | None = None,
    mask: Float[Tensor, "*rows features"] | None = None,
) -> Float[Tensor, "*rows out"]:
    """`x·Wᵀ + b + s·((x∘m)·Aᵀ)·Bᵀ` (Hu et al. 2021, arXiv:2106.09685).

    Args:
        x: Input, `[..., I]`.
        weight: Frozen base, `[O, I]`.
        lora_a: A, `[R, I]`.
        lora_b: B, `[O, R]`.
        scaling: s.
        bias: b, `[O]`.
        mask: Dropout mask m with its factor 1/(1 − p), or None without dropout. The ops draw it from a seed.

    Returns:
        `[..., O]`.
    """
    y = x @ weight.T + scaling * ((x if mask is None else x * mask) @ lora_a.T @ lora_b.T)
    return y if bias is None else y + bias


def apply(x: Tensor, p: LoraWeights, mask: Tensor | None = None) -> Tensor:
    """`lora_linear` with the weights of a record."""
    return lora_linear(x, p.weight, p.lora_a, p.lora_b, scaling=p.scaling, bias=p.bias, mask=mask)


def lora_qkv(
    x: Float[Tensor, "*rows features"],
    q: LoraWeights,
    k: LoraWeights,
    v: LoraWeights,
    *,
    masks: tuple[Tensor | None, Tensor | None, Tensor | None] = (None, None, None),
) -> tuple[Tensor, Tensor, Tensor]:
    """Three `lora_linear` of one input.

    Args:
        x: Input, `[..., I]`.
        q: Query projection.
        k: Key projection.
        v: Value projection.
        masks: Dropout masks.

    Returns:
        Queries, keys and values.
    """
    return apply(x, q, masks[0]), apply(x, k, masks[1]), apply(x, v, masks[2])


def lora_mlp(
    x: Float[Tensor, "*rows features"],
    gate: LoraWeights,
    up: LoraWeights,
    down: LoraWeights,
    *,
    activation: str = "silu",
    masks: tuple[Tensor | None, Tensor | None, Tensor | None] = (None, None, None),
) -> Float[Tensor, "*rows features"]:
    """`down(act(gate(x)) · up(x))`, each projection with its adapter.

    Args:
        x: Input, `[..., I]`.
        gate: Gate projection to F features.
        up: Up projection to F features.
        down: Down projection from F features.
        activation: `silu`, `gelu` or `gelu_tanh`.
        masks: Dropout masks of the three inputs.

    Returns:
        `[..., I]`.
    """
    e, g = apply(x, gate, masks[0]), apply(x, up, masks[1])
    if activation == "silu":
        h = swiglu(e, g)
    else:
        h = geglu(e, g, approximate="tanh" if activation == "gelu_tanh" else "none")
    return apply(h, down, masks[2])
