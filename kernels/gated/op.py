"""Gated activations as torch ops with autograd formulas.

Shape suffixes: T rows (tokens), F intermediate size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from ..backend import active_backend, implementation
from ..checks import check_same_shape

if TYPE_CHECKING:
    from jaxtyping import Float


@torch.library.custom_op("stepaudit::gated", mutates_args=())
def _gated(gate: Tensor, up: Tensor, activation: str, backend: str) -> Tensor:
    return implementation("gated", backend).gated_forward(gate, up, activation)  # type: ignore[no-any-return]


@_gated.register_fake
def _(gate: Tensor, up: Tensor, activation: str, backend: str) -> Tensor:
    return torch.empty_like(gate, memory_format=torch.contiguous_format)


@torch.library.custom_op("stepaudit::gated_backward_", mutates_args=("gate", "up"))
def _gated_backward_(grad: Tensor, gate: Tensor, up: Tensor, activation: str, backend: str) -> None:
    implementation("gated", backend).gated_backward_(grad, gate, up, activation, False)  # noqa: FBT003


@_gated_backward_.register_fake
def _(grad: Tensor, gate: Tensor, up: Tensor, activation: str, backend: str) -> None:
    return None


def _writable(x: Tensor) -> bool:
    return x.stride(-1) == 1 and (x.shape[0] <= 1 or x.stride(0) >= x.shape[1])


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    gate, up, ctx.activation, ctx.backend = inputs
    ctx.save_for_backward(gate, up)


def _grad(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    gate, up = (t.detach() for t in ctx.saved_tensors)
    # In place only where no element of gate and up shares its memory with another.
    shared = gate.untyped_storage()._cdata == up.untyped_storage()._cdata  # noqa: SLF001
    if shared or not _writable(gate):
        gate = gate.clone(memory_format=torch.contiguous_format)
    if shared or not _writable(up):
        up = up.clone(memory_format=torch.contiguous_format)
    _gated_backward_(grad, gate, up, ctx.activation, ctx.backend)
    return gate, up, None, None


_gated.register_autograd(_grad, setup_context=_setup)


def _apply(name: str, gate: Tensor, up: Tensor, activation: str) -> Tensor:
    check_same_shape(name, gate=gate, up=up)
    if gate.dim() == 0:
        raise ValueError(f"{name}: gate is 0-dimensional; [..., F] is needed")
    inner = gate.shape[-1]
    y = _gated(
        gate.reshape(-1, inner) if inner else gate.reshape(0, 1),
        up.reshape(-1, inner) if inner else up.reshape(0, 1),
        activation,
        active_backend(gate.device).value,
    )
    out: Tensor = y.view(gate.shape)
    return out


def swiglu(
    gate: Float[Tensor, "*rows inner"], up: Float[Tensor, "*rows inner"]
) -> Float[Tensor, "*rows inner"]:
    """`gate · sigmoid(gate) · up`.

    The backward pass recomputes the activation and **writes both gradients over `gate` and `up`**: neither
    may be read after `backward()`. Autograd's version counters turn a second use by another op into an error.
    Where the two share storage, or their elements overlap, fresh buffers are used.

    Args:
        gate: Gate projection, `[..., F]`.
        up: Up projection, `[..., F]`, same dtype.

    Returns:
        `[..., F]`, contiguous.

    Raises:
        ValueError: Shapes, dtypes or devices do not fit.

    Accuracy:
        Triton: float32 inside, one rounding. Torch: the activation is rounded once more.

    Source: Shazeer 2020, arXiv:2002.05202.
    """
    return _apply("swiglu", gate, up, "silu")


def geglu(
    gate: Float[Tensor, "*rows inner"],
    up: Float[Tensor, "*rows inner"],
    *,
    approximate: Literal["none", "tanh"] = "none",
) -> Float[Tensor, "*rows inner"]:
    """`gelu(gate) · up`, with erf or the tanh approximation; memory as in `swiglu`.

    Args:
        gate: Gate projection, `[..., F]`; overwritten by `backward()`.
        up: Up projection, `[..., F]`, same dtype; overwritten by `backward()`.
        approximate: `none` for erf, `tanh` for the approximation.

    Returns:
        `[..., F]`, contiguous.

    Raises:
        ValueError: Shapes, dtypes or devices do not fit, or `approximate` is unknown.

    Accuracy:
        As `swiglu`.

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415; Shazeer 2020, arXiv:2002.05202.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"geglu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return _apply("geglu", gate, up, "gelu_tanh" if approximate == "tanh" else "gelu")
