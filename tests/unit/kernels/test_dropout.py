"""Dropout of the adapters: one seed, one mask, forward and backward, on both backends."""

from __future__ import annotations

import importlib

import pytest
import torch
from stepaudit import kernels as k
from stepaudit.kernels.lora.adapter import draw_seeds, dropped

ROWS, FEATURES, OUT, RANK, P = 6, 40, 5, 3, 0.4


def _operands():
    torch.manual_seed(3)
    tensors = {"x": torch.randn(ROWS, FEATURES), "weight": torch.zeros(OUT, FEATURES)}
    return tensors | {"lora_a": torch.randn(RANK, FEATURES), "lora_b": torch.randn(OUT, RANK)}


def _masks(count, *shapes):
    """The masks that the generator state of `_call` stands for: what dropout makes of ones."""
    torch.manual_seed(11)
    seeds = draw_seeds(count, P)
    ones = [torch.ones(shape, dtype=torch.float64) for shape in shapes]
    return [dropped(x, P, seed, "torch") for x, seed in zip(ones, seeds, strict=True)]


def _call(**tensors):
    torch.manual_seed(11)
    return k.lora_linear(**tensors, scaling=1.0, dropout_p=P)


def test_forward_and_backward_use_the_same_mask():
    """The output and every gradient are the reference's under the mask that the seed stands for."""
    reference = importlib.import_module("stepaudit.kernels.lora.reference")
    (mask,) = _masks(1, (ROWS, FEATURES))
    assert sorted(mask.unique().tolist()) == [0.0, pytest.approx(1 / (1 - P))]
    mine = {n: v.double().requires_grad_(n != "weight") for n, v in _operands().items()}
    right = {n: v.double().requires_grad_(n != "weight") for n, v in _operands().items()}
    y = _call(**mine)
    z = reference.lora_linear(**right, scaling=1.0, mask=mask)
    y.square().sum().backward()
    z.square().sum().backward()
    # float64 on both sides: sums of 40 products, 10⁻¹⁶ each
    torch.testing.assert_close(y, z, rtol=1e-10, atol=1e-10)
    for name in ("x", "lora_a", "lora_b"):
        torch.testing.assert_close(mine[name].grad, right[name].grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kernel", ["lora_qkv", "lora_mlp"])
def test_groups_draw_a_mask_for_every_adapter(kernel):
    """QKV and MLP give the reference's outputs and gradients under three masks of their own."""
    reference = importlib.import_module("stepaudit.kernels.lora.reference")
    masks = _masks(3, *[(ROWS, 8)] * 3)
    assert not torch.equal(masks[0], masks[1])
    results = []
    for function, more in (
        (getattr(k, kernel), {"dropout_p": P}),
        (getattr(reference, kernel), {"masks": masks}),
    ):
        torch.manual_seed(4)
        x, a, b = (torch.randn(s, dtype=torch.float64).requires_grad_() for s in ((ROWS, 8), (2, 8), (8, 2)))
        base = torch.randn(8, 8, dtype=torch.float64)
        torch.manual_seed(11)
        out = function(x, *[k.LoraWeights(weight=base, lora_a=a, lora_b=b, scaling=0.5)] * 3, **more)
        out = torch.cat(out) if isinstance(out, tuple) else out
        out.square().sum().backward()
        results.append([out.detach(), x.grad, a.grad, b.grad])
    for mine, right in zip(*results, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-10, atol=1e-10)


def test_no_dropout_in_evaluation():
    """With training=False the result is that of p = 0, and no random number is drawn."""
    t = _operands()
    state = torch.get_rng_state()
    y = k.lora_linear(**t, scaling=1.0, dropout_p=P, training=False)
    assert torch.equal(y, k.lora_linear(**t, scaling=1.0))
    assert torch.equal(state, torch.get_rng_state())


def test_the_cpu_generator_makes_it_repeatable():
    """The same generator state gives the same mask, another state another one."""
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, second = (k.lora_linear(**_operands_at(state), scaling=1.0, dropout_p=P) for _ in range(2))
    assert torch.equal(first, second)
    torch.manual_seed(2)
    assert not torch.equal(
        first, k.lora_linear(**_operands_at(torch.get_rng_state()), scaling=1.0, dropout_p=P)
    )


def _operands_at(state):
    t = _operands()
    torch.set_rng_state(state)
    return t


def test_triton_dropout_keeps_the_right_share(interpreter):
    """Under the interpreter, the mask keeps a share of 1 − p and scales it by 1/(1 − p), also in backward."""
    request = importlib.import_module("stepaudit_kernel_worker").Request(
        kernel="lora_linear",
        tensors={
            "x": torch.ones(40, 100),
            "weight": torch.zeros(1, 100),
            "lora_a": torch.ones(1, 100),
            "lora_b": torch.ones(1, 1),
        },
        differentiable=("x",),
        options={"scaling": 1.0, "dropout_p": P},
    )
    got = interpreter(request)
    kept = got.outputs[0].sum().item() * (1 - P)
    # 4,000 draws: the standard deviation is 31, five of them are allowed
    assert abs(kept - 4000 * (1 - P)) < 155
    assert kept == pytest.approx(got.grads["x"].ne(0).sum().item())
    # the gradient of row i is g_i·mask_i/(1 − p): its nonzero entries are equal, and as many as the row summed
    for y, row in zip(got.outputs[0].flatten(), got.grads["x"], strict=True):
        assert row.ne(0).sum().item() == pytest.approx(y.item() * (1 - P), rel=1e-5)
