"""Mixed dtypes as training has them: autocast, float32 adapters on a half-precision base, float16 scaling."""

from __future__ import annotations

import pytest
import torch
from stepaudit import kernels as k


def test_autocast_computes_in_its_dtype_and_keeps_float32_gradients():
    """Under bfloat16 autocast, products are bfloat16's, while float32 parameters get float32 gradients."""
    torch.manual_seed(0)
    x = torch.randn(6, 16)
    w = torch.randn(40, 16, requires_grad=True)
    a, b = torch.randn(2, 16, requires_grad=True), torch.randn(16, 2, requires_grad=True)
    base = torch.randn(16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        y = k.lora_linear(x, base, a, b, scaling=0.5)
        loss = k.fused_linear_cross_entropy(y, w, torch.arange(6))
        plain = x.bfloat16() @ base.bfloat16().T + (x.bfloat16() @ a.bfloat16().T) @ b.bfloat16().T * 0.5
        plain = plain.detach()
    loss.backward()
    assert y.dtype is torch.bfloat16
    # two products rounded to bfloat16 (2⁻⁸), their sum, and the scaling
    torch.testing.assert_close(
        y.float(), plain.float(), rtol=4 * 2**-8, atol=4 * 2**-8 * float(plain.abs().max())
    )
    assert {t.grad.dtype for t in (w, a, b)} == {torch.float32}
    assert not torch.equal(w.grad, w.grad.bfloat16().float())


def test_float32_adapters_on_a_bfloat16_base():
    """PEFT's usual layout: the adapter computes in float32, the output has the base's dtype."""
    torch.manual_seed(0)
    x, base = torch.randn(4, 8).bfloat16(), torch.randn(8, 8).bfloat16()
    a, b = torch.randn(2, 8, requires_grad=True), torch.randn(8, 2, requires_grad=True)
    records = [k.LoraWeights(weight=base, lora_a=a, lora_b=b, scaling=0.5)] * 3
    for call in (
        lambda: k.lora_linear(x, base, a, b, scaling=0.5),
        lambda: torch.cat(k.lora_qkv(x, *records)),
        lambda: k.lora_mlp(x, *records),
    ):
        y = call()
        assert y.dtype is torch.bfloat16
        a.grad = b.grad = None
        y.float().sum().backward()
        assert a.grad.dtype is b.grad.dtype is torch.float32


@pytest.mark.parametrize("divisor", [1, 10**6])
def test_float16_gradients_survive_divisor_and_scaler(divisor):
    """A huge divisor undone by a loss scale leaves the float16 gradients what they are: none underflows."""
    torch.manual_seed(0)
    h = torch.randn(8, 16).half().requires_grad_()
    w = torch.randn(50, 16).half().requires_grad_()
    loss = k.fused_linear_cross_entropy(h, w, torch.arange(8), num_items_in_batch=divisor)
    (loss * divisor).backward()
    exact = [t.detach().double().requires_grad_() for t in (h, w)]
    torch.nn.functional.cross_entropy(exact[0] @ exact[1].T, torch.arange(8), reduction="sum").backward()
    for mine, right in zip((h, w), exact, strict=True):
        # rounding of the logits' gradient, of the product and of the scaling to 2⁻¹¹ each, logits of up to ±16
        assert (mine.grad.double() - right.grad).abs().max() < 16 * 2**-11 * right.grad.abs().max()
