"""`torch.compile` sees the kernels as ops: schema, fake shapes, autograd and tracing hold."""

from __future__ import annotations

import pytest
import torch
from stepaudit import kernels as k
from torch._library.custom_ops import OPDEFS

LABELS = torch.tensor([0, -100, 3, 4])
LOSS = (-100, 0.0, 1.0, 0.1, 0.0)
SEEDS = torch.zeros(3, dtype=torch.int64)


def _leaf(*shape):
    return torch.randn(shape, requires_grad=True)


def _adapters(*pairs):
    return (
        [torch.randn(o, i) for i, o in pairs],
        [torch.empty(0) for _ in pairs],
        [_leaf(2, i) for i, _ in pairs],
        [_leaf(o, 2) for _, o in pairs],
        [0.5] * len(pairs),
    )


def _samples():
    yield "rms_norm", (_leaf(4, 5), _leaf(5), 1e-5, 0.0, "torch")
    yield "add_rms_norm", (_leaf(4, 5), _leaf(4, 5), _leaf(5), 1e-5, 1.0, "torch")
    yield (
        "rms_norm_backward",
        (torch.randn(4, 5), torch.randn(4, 5), torch.randn(5), torch.rand(4), 0.0, None, True, "torch"),
    )
    yield "layer_norm", (_leaf(4, 5), _leaf(5), _leaf(5), 1e-5, "torch")
    yield (
        "layer_norm_backward",
        (torch.randn(4, 5), torch.randn(4, 5), torch.randn(5), torch.rand(4), torch.rand(4), True, "torch"),
    )
    yield (
        "rope",
        (_leaf(1, 2, 3, 4), _leaf(1, 1, 3, 4), torch.randn(1, 3, 4), torch.randn(1, 3, 4), False, "torch"),
    )
    yield "gated", (_leaf(4, 5), _leaf(4, 5), "silu", "torch")
    yield "gated_backward_", (torch.randn(4, 5), torch.randn(4, 5), torch.randn(4, 5), "gelu", "torch")
    yield "cross_entropy", (_leaf(4, 5), LABELS, *LOSS, "torch")
    yield (
        "cross_entropy_backward_",
        (torch.ones(()), torch.randn(4, 5), LABELS, torch.zeros(4), *LOSS, "torch"),
    )
    head = (*LOSS, 2, torch.float32, True, True, True, "torch")
    yield "linear_cross_entropy", (_leaf(4, 3), _leaf(5, 3), LABELS, _leaf(5), *head)
    yield (
        "lora_projections",
        (_leaf(4, 3), *_adapters((3, 5), (3, 2)), 0.0, SEEDS[:2], torch.float32, "torch"),
    )
    weights, _, a, b, scalings = _adapters((3, 5))
    yield (
        "lora_projections_backward",
        ([torch.randn(4, 5)], torch.randn(4, 3), weights, [a[0].detach()], [b[0].detach()], [torch.randn(4, 2)],
         scalings, 0.0, SEEDS[:1], True, "torch"),
    )  # fmt: skip
    mlp = _adapters((3, 5), (3, 5), (5, 3))
    yield "lora_mlp", (_leaf(4, 3), *mlp, "silu", 0.0, SEEDS, torch.float32, "torch")
    weights, _, a, b, scalings = mlp
    yield (
        "lora_mlp_backward_",
        (torch.randn(4, 3), torch.randn(4, 3), torch.randn(4, 5), torch.randn(4, 5), weights,
         [x.detach() for x in a], [x.detach() for x in b], [torch.randn(4, 2) for _ in range(3)], scalings,
         "silu", 0.0, SEEDS, True, "torch"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments"), list(_samples()), ids=lambda v: v if isinstance(v, str) else ""
)
@pytest.mark.filterwarnings("ignore:Error detected in:UserWarning")
def test_op_is_well_formed(name, arguments):
    """Schema, aliasing, fake tensors, autograd registration and dynamic tracing agree with what the op does."""
    checks = ["test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]
    if name == "lora_mlp":
        # Its eager backward overwrites two of its own outputs, which nothing but the check can see; the traced
        # one does not, and the check would call that a difference. The whole-model test below covers it.
        checks.pop()
    torch.library.opcheck(OPDEFS[f"stepaudit::{name}"], arguments, test_utils=checks)


def test_every_op_is_checked():
    """No op of ours is missing from the samples above."""
    ours = {n.removeprefix("stepaudit::") for n in OPDEFS if n.startswith("stepaudit::")}
    assert ours == {name for name, _ in _samples()}


def _layer(x, p):
    y, r = k.add_rms_norm(x, x * 2, p["norm"], eps=1e-6)
    q, _ = k.rope(y.view(1, 2, 4, 8), y.view(1, 2, 4, 8), p["cos"], p["sin"])
    z = k.swiglu(q.reshape(8, 8) @ p["gate"], y @ p["up"]) + r
    z = k.lora_mlp(z, *[k.LoraWeights(weight=p["base"], lora_a=p["a"], lora_b=p["b"], scaling=0.5)] * 3)
    z = k.lora_linear(k.layer_norm(z, p["norm"], None, eps=1e-6), p["base"], p["a"], p["b"], scaling=0.5)
    logits = z @ p["up"]
    return k.fused_linear_cross_entropy(z, p["head"], p["labels"]) + k.cross_entropy(logits, p["labels"])


def test_a_model_compiles_without_graph_breaks():
    """One full graph through every kernel gives the eager loss and gradients bit for bit."""

    def run(function):
        torch.manual_seed(0)
        shapes = {"norm": (8,), "gate": (8, 8), "up": (8, 8), "a": (2, 8), "b": (8, 2), "head": (11, 8)}
        p = {n: torch.randn(s).requires_grad_() for n, s in shapes.items()}
        frozen = {"base": torch.randn(8, 8), "cos": torch.randn(1, 4, 8), "sin": torch.randn(1, 4, 8)}
        x = torch.randn(8, 8, requires_grad=True)
        loss = function(x, {**p, **frozen, "labels": torch.tensor([0, 1, -100, 3, 4, 5, 6, 7])})
        loss.backward()
        return [loss.detach(), x.grad, *(t.grad for t in p.values())]

    torch._dynamo.reset()
    compiled = run(torch.compile(_layer, fullgraph=True, backend="aot_eager"))
    for mine, eager in zip(compiled, run(_layer), strict=True):
        # the same kernels in the same order; sums of partial gradients may be grouped otherwise
        torch.testing.assert_close(mine, eager, rtol=1e-5, atol=1e-5 * float(eager.abs().max()))
