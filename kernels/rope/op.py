"""Rotary position embedding as a torch op with an autograd formula.

Shape suffixes: B batch, N query heads, K key heads, L positions, D head dimension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..backend import active_backend, implementation
from ..checks import check_device

if TYPE_CHECKING:
    from jaxtyping import Float


@torch.library.custom_op("stepaudit::rope", mutates_args=())
def _rope(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, inverse: bool, backend: str
) -> tuple[Tensor, Tensor]:
    q_out, k_out = implementation("rope", backend).rope_rotate(q, k, cos, sin, inverse)
    return q_out, k_out


@_rope.register_fake
def _(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, inverse: bool, backend: str) -> tuple[Tensor, Tensor]:
    return torch.empty_like(q), torch.empty_like(k)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, _, cos, sin, ctx.inverse, ctx.backend = inputs
    ctx.save_for_backward(cos, sin)


def _grad(ctx: Any, grad_q: Tensor, grad_k: Tensor) -> tuple[Tensor | None, ...]:
    cos, sin = ctx.saved_tensors
    dq, dk = _rope(grad_q, grad_k, cos, sin, not ctx.inverse, ctx.backend)
    return dq, dk, None, None, None, None


_rope.register_autograd(_grad, setup_context=_setup)


def rope(
    q: Float[Tensor, "batch q_heads length dim"],
    k: Float[Tensor, "batch k_heads length dim"],
    cos: Float[Tensor, "one_or_batch length dim"],
    sin: Float[Tensor, "one_or_batch length dim"],
) -> tuple[Float[Tensor, "batch q_heads length dim"], Float[Tensor, "batch k_heads length dim"]]:
    """`x·cos + rotate_half(x)·sin` for queries and keys in one launch.

    Args:
        q: Queries, `[B, N, L, D]`, any strides (a transposed view is fine).
        k: Keys, `[B, K, L, D]`, grouped-query: K may be less than N.
        cos: Cosines already gathered by position, `[B or 1, L, D]`; no gradient flows to it.
        sin: Sines already gathered by position, `[B or 1, L, D]`; no gradient flows to it.

    Returns:
        Rotated q and k, laid out in memory as the inputs.

    Raises:
        ValueError: Shapes, dtypes or devices do not fit, or D is odd.

    Accuracy:
        float32 inside, one rounding at the end.

    Source: Su et al. 2021, arXiv:2104.09864; the half-split convention of transformers' `rotate_half`.
    """
    b, _, length, dim = q.shape
    if dim % 2:
        raise ValueError(f"rope: the head dimension must be even, got {dim}")
    if k.shape[0] != b or k.shape[2:] != q.shape[2:]:
        raise ValueError(f"rope: k has shape {list(k.shape)}, q has {list(q.shape)}")
    for name, table in (("cos", cos), ("sin", sin)):
        if table.dim() != 3 or table.shape[0] not in (1, b) or table.shape[1:] != (length, dim):
            raise ValueError(
                f"rope: {name} has shape {list(table.shape)}, expected [{b} or 1, {length}, {dim}]"
            )
        check_device("rope", q, name, table)
    q_out, k_out = _rope(q, k, cos.detach(), sin.detach(), False, active_backend(q.device).value)  # noqa: FBT003 - not inverse
    return q_out, k_out
