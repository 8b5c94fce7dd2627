"""What a training loop does around the kernels: checkpointing, offloading, accumulation, frozen inputs."""

from __future__ import annotations

import pytest
import torch
from stepaudit import kernels as k
from torch.utils.checkpoint import checkpoint


def _parameters():
    torch.manual_seed(0)
    shapes = {
        "norm": (8,),
        "gate": (12, 8),
        "up": (12, 8),
        "down": (8, 12),
        "a": (2, 8),
        "b": (8, 2),
        "head": (20, 8),
    }
    return {n: torch.randn(s).requires_grad_() for n, s in shapes.items()}


def _block(x, p):
    y, r = k.add_rms_norm(x, x, p["norm"], eps=1e-6)
    y = k.lora_linear(y, torch.eye(8), p["a"], p["b"], scaling=0.5, dropout_p=0.5)
    return r + k.swiglu(y @ p["gate"].T, y @ p["up"].T) @ p["down"].T


def _loss(x, p, block=_block):
    return k.fused_linear_cross_entropy(
        block(block(x, p), p), p["head"], torch.arange(6), num_items_in_batch=6
    )


def _grads(loss):
    p = _parameters()
    x = torch.linspace(-1, 1, 48).reshape(6, 8).requires_grad_()
    torch.manual_seed(1)
    loss(x, p)
    return [x.grad, *(t.grad for t in p.values())]


def _plain(x, p):
    _loss(x, p).backward()


def _checkpointed(x, p):
    _loss(x, p, lambda x, p: checkpoint(_block, x, p, use_reentrant=False)).backward()


def _offloaded(x, p):
    with torch.autograd.graph.save_on_cpu():
        _loss(x, p).backward()


@pytest.mark.parametrize("way", [_checkpointed, _offloaded])
def test_checkpointing_and_offloading_change_nothing(way):
    """Recomputed or offloaded activations (dropout masks too) give the plain gradients bit for bit."""
    assert all(torch.equal(a, b) for a, b in zip(_grads(way), _grads(_plain), strict=True))


def test_windows_accumulate_to_the_whole_batch():
    """Two micro-batches divided by the labels of the window give the gradient of the whole batch."""
    p, q = _parameters(), _parameters()
    x, labels = torch.randn(6, 8), torch.tensor([1, -100, 3, 4, -100, 6])
    k.fused_linear_cross_entropy(x, p["head"], labels).backward()
    for part in (slice(0, 2), slice(2, 6)):
        k.fused_linear_cross_entropy(
            x[part], q["head"], labels[part], num_items_in_batch=torch.tensor(4)
        ).backward()
    # float32 sums of four terms in another order
    torch.testing.assert_close(p["head"].grad, q["head"].grad, rtol=1e-5, atol=1e-6)


def test_an_input_without_gradient_costs_none():
    """Where the first layer's input needs no gradient, adapters still get theirs and the input gets none."""
    p = _parameters()
    x = torch.randn(6, 8)
    record = k.LoraWeights(weight=torch.eye(8), lora_a=p["a"], lora_b=p["b"], scaling=0.5)
    for y in (
        k.lora_linear(x, torch.eye(8), p["a"], p["b"], scaling=0.5),
        k.lora_mlp(x, record, record, record),
    ):
        p["a"].grad = None
        y.sum().backward()
        assert p["a"].grad.abs().sum() > 0
    assert x.grad is None


def test_qkv_with_an_unused_output():
    """Queries, keys and values that no loss reaches count as zero in the gradients of the rest."""
    p = _parameters()
    x = torch.randn(6, 8, requires_grad=True)
    record = k.LoraWeights(weight=torch.eye(8), lora_a=p["a"], lora_b=p["b"], scaling=0.5)
    k.lora_qkv(x, record, record, record)[1].sum().backward()
    got = [x.grad.clone(), p["a"].grad.clone(), p["b"].grad.clone()]
    x.grad = p["a"].grad = p["b"].grad = None
    k.lora_linear(x, torch.eye(8), p["a"], p["b"], scaling=0.5).sum().backward()
    for mine, right in zip(got, (x.grad, p["a"].grad, p["b"].grad), strict=True):
        torch.testing.assert_close(mine, right)


def test_packed_tokens_do_not_see_their_neighbours():
    """Changing one packed sequence leaves the outputs of the others as they are, bit for bit."""
    torch.manual_seed(0)
    q, key, v = torch.randn(9, 4, 8), torch.randn(9, 2, 8), torch.randn(9, 2, 8)
    starts = torch.tensor([0, 4, 9], dtype=torch.int32)
    before = k.packed_attention(q, key, v, starts)
    key[:4] += 1
    v[:4] -= 1
    after = k.packed_attention(q, key, v, starts)
    assert torch.equal(before[4:], after[4:])
    assert not torch.equal(before[:4], after[:4])
