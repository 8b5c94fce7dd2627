"""One adapter: its weights and the matrix products of its forward and backward pass.

Shape suffixes: T tokens, I input features, O output features, R rank.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ..backend import implementation
from ..precision import compute_dtype


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoraWeights:
    """A frozen projection and its trainable adapter: `y = x·Wᵀ + b + scaling · (x·Aᵀ)·Bᵀ`.

    Attributes:
        weight: Base weight `[O, I]`, frozen: no gradient is computed for it.
        lora_a: Down projection A, `[R, I]`.
        lora_b: Up projection B, `[O, R]`.
        scaling: Usually alpha / rank.
        bias: Base bias `[O]`, frozen, or None.
    """

    weight: Tensor
    lora_a: Tensor
    lora_b: Tensor
    scaling: float
    bias: Tensor | None = None

    def check(self, kernel: str, features: int) -> None:
        """Raise ValueError where shapes do not fit or the base would need a gradient."""
        w, a, b = list(self.weight.shape), list(self.lora_a.shape), list(self.lora_b.shape)
        if len(w) != 2 or w[1] != features or len(a) != 2 or a[1] != features or b != [w[0], a[0]]:
            raise ValueError(
                f"{kernel}: weight {w}, lora_a {a}, lora_b {b} do not fit {features} features;"
                " expected [O, I], [R, I], [O, R]"
            )
        if self.bias is not None and list(self.bias.shape) != w[:1]:
            raise ValueError(f"{kernel}: bias has shape {list(self.bias.shape)}, expected {w[:1]}")
        for name, tensor in (("weight", self.weight), ("bias", self.bias)):
            if tensor is not None and tensor.requires_grad:
                raise ValueError(f"{kernel}: {name} requires grad, but the base is frozen here by definition")


def draw_seeds(count: int, dropout_p: float) -> Tensor:
    """Seeds of the dropout masks, drawn from torch's CPU generator (so that its state makes a run repeatable).

    They live on the CPU: reading them synchronises with no device. Without dropout nothing is drawn.
    """
    if not dropout_p:
        return torch.zeros(count, dtype=torch.int64)
    return torch.randint(2**31 - 1, (count,), dtype=torch.int64)


def dropped(x_TI: Tensor, dropout_p: float, seed: Tensor, backend: str) -> Tensor:
    """`x` with elements zeroed at probability p and the rest divided by 1 - p; the seed is the mask."""
    if not dropout_p:
        return x_TI
    return implementation("lora", backend).seeded_dropout(x_TI, dropout_p, int(seed))  # type: ignore[no-any-return]


def project(
    x_TI: Tensor,
    weight_OI: Tensor,
    bias_O: Tensor | None,
    a_RI: Tensor,
    b_OR: Tensor,
    *,
    scaling: float,
    dropout_p: float,
    seed: Tensor,
    compute: torch.dtype,
    backend: str,
) -> tuple[Tensor, Tensor]:
    """Output `[T, O]` and the adapter's inner activation `[T, R]`, which the backward pass needs."""
    x_TI = x_TI.to(compute)
    y_TO = torch.nn.functional.linear(
        x_TI, weight_OI.to(compute), None if bias_O is None else bias_O.to(compute)
    )
    adapter = a_RI.dtype
    inner_TR = dropped(x_TI, dropout_p, seed, backend).to(adapter) @ a_RI.t()
    if adapter == compute:
        y_TO.addmm_(inner_TR, b_OR.t(), alpha=scaling)
    else:
        y_TO.add_(inner_TR @ b_OR.t(), alpha=scaling)
    return y_TO, inner_TR


def adapter_cast(x: Tensor, parameter: Tensor) -> Tensor:
    """Under autocast, adapters in its dtype; else as they are (float32 beside a half-precision base is usual)."""
    return parameter.to(compute_dtype(x)) if torch.is_autocast_enabled(x.device.type) else parameter


def adapter_grads(
    grad_TO: Tensor,
    x_TI: Tensor,
    a_RI: Tensor,
    b_OR: Tensor,
    inner_TR: Tensor,
    *,
    scaling: float,
    dropout_p: float,
    seed: Tensor,
    grad_x_TI: Tensor | None,
    backend: str,
) -> tuple[Tensor, Tensor]:
    """Gradients of A and B; adds the adapter's part to `grad_x_TI`."""
    adapter = inner_TR.dtype
    grad_TO = grad_TO.to(adapter)
    grad_b_OR = (grad_TO.t() @ inner_TR).mul_(scaling)
    grad_inner_TR = (grad_TO @ b_OR).mul_(scaling)
    grad_a_RI = grad_inner_TR.t() @ dropped(x_TI, dropout_p, seed, backend).to(adapter)
    if grad_x_TI is not None:
        if not dropout_p and grad_x_TI.dtype == adapter:
            grad_x_TI.addmm_(grad_inner_TR, a_RI)
        else:
            grad_x_TI.add_(dropped(grad_inner_TR @ a_RI, dropout_p, seed, backend))
    return grad_a_RI, grad_b_OR
