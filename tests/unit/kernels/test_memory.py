"""The memory promises: gradients in place, no logits, no head gradient for a frozen head; and determinism."""

from __future__ import annotations

import pytest
import torch
from stepaudit import kernels as k
from torch._library.custom_ops import OPDEFS
from torch.utils._python_dispatch import TorchDispatchMode


class _Largest(TorchDispatchMode):
    """Records the largest tensor that any torch op allocates, inside our ops too."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == "stepaudit":  # run the op's body under this mode: torch hides it from modes
            with self:
                return OPDEFS[function._schema.name]._init_fn(*args, **(kwargs or {}))
        out = function(*args, **(kwargs or {}))
        known = {
            x.untyped_storage().data_ptr()
            for x in torch.utils._pytree.tree_leaves((args, kwargs))
            if torch.is_tensor(x)
        }
        for x in torch.utils._pytree.tree_leaves(out):
            if torch.is_tensor(x) and x.untyped_storage().data_ptr() not in known:
                self.elements = max(self.elements, x.untyped_storage().nbytes() // x.element_size())
        return out


def test_cross_entropy_writes_its_gradient_over_the_logits():
    """After backward the memory of the logits holds their gradient, and until then the logits."""
    leaf = torch.randn(6, 11, requires_grad=True)
    logits = leaf * 1
    before, address = logits.detach().clone(), logits.data_ptr()
    logits.register_hook(lambda g: seen.append((g.data_ptr(), g.clone())))
    seen = []
    loss = k.cross_entropy(logits, torch.arange(6))
    assert torch.equal(logits, before)
    loss.backward()
    assert seen[0][0] == address
    assert torch.equal(seen[0][1], leaf.grad)


@pytest.mark.parametrize("call", [k.swiglu, k.geglu])
def test_gated_activations_write_their_gradients_over_their_inputs(call):
    """Backward allocates no buffer for the gradients of gate and up."""
    leaf = torch.randn(2, 4, 7, requires_grad=True)
    gate, up = leaf[0] * 1, leaf[1] * 1
    addresses = [gate.data_ptr(), up.data_ptr()]
    seen = []
    for x in (gate, up):
        x.register_hook(lambda g: seen.append(g.data_ptr()))
    call(gate, up).sum().backward()
    assert sorted(seen) == sorted(addresses)


def test_inputs_that_share_memory_are_not_overwritten():
    """`swiglu(x, x)`, halves of one buffer and expanded inputs get the right gradients all the same."""
    for make in (
        lambda x: (x * 1,) * 2,
        lambda x: (x * 1).chunk(2, -1),
        lambda x: (x[:1].expand(4, 6), x * 1),
    ):
        a = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
        b = a.detach().clone().requires_grad_()
        k.swiglu(*make(a)).square().sum().backward()
        gate, up = make(b)
        (torch.nn.functional.silu(gate) * up).square().sum().backward()
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: k.cross_entropy(x, torch.arange(4)),
        lambda x: k.swiglu(x, x * 2).sum(),
        lambda x: k.fused_linear_cross_entropy(x, torch.ones(9, 9), torch.arange(4)),
    ],
)
def test_a_second_backward_is_an_error(loss):
    """What was overwritten can't be used again: autograd raises instead of computing with it."""
    value = loss(torch.randn(4, 9, requires_grad=True) * 1)
    value.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


@pytest.mark.parametrize("frozen", [False, True])
def test_fused_head_never_holds_the_logits(frozen):
    """No op of forward or backward allocates [T, V]; with a frozen head none allocates [V, H] either."""
    tokens, hidden, vocabulary, chunk = 64, 16, 500, 4
    h = torch.randn(tokens, hidden, requires_grad=True)
    w = torch.randn(vocabulary, hidden, requires_grad=not frozen)
    with _Largest() as largest:
        k.fused_linear_cross_entropy(h, w, torch.arange(tokens), chunk_tokens=chunk).backward()
    assert largest.elements == (chunk * vocabulary if frozen else vocabulary * hidden)
    assert (w.grad is None) is frozen


def test_the_largest_tensor_is_seen():
    """The recorder of the test above sees logits where they are materialised (and so can fail)."""
    h = torch.randn(64, 16, requires_grad=True)
    with _Largest() as largest:
        k.cross_entropy(h @ torch.randn(16, 500), torch.arange(64)).backward()
    assert largest.elements == 64 * 500


def test_evaluation_computes_no_gradient():
    """Without grad mode, or without an input that needs it, the fused head allocates chunks only."""
    h, w = torch.randn(64, 16, requires_grad=True), torch.randn(500, 16, requires_grad=True)
    with torch.no_grad(), _Largest() as largest:
        k.fused_linear_cross_entropy(h, w, torch.arange(64), chunk_tokens=2)
    assert largest.elements == 2 * 500


def test_weight_gradient_is_accumulated_in_float32():
    """A thousand chunks of bfloat16 sum to the exact gradient within one rounding of the sum."""
    tokens = 1000
    h = torch.full((tokens, 1), 1.0, dtype=torch.bfloat16)
    w = torch.zeros(2, 1, dtype=torch.bfloat16, requires_grad=True)
    k.fused_linear_cross_entropy(
        h, w, torch.zeros(tokens).long(), num_items_in_batch=1, chunk_tokens=1
    ).backward()
    # each token adds (0.5 - 1); a bfloat16 sum of ±0.5 stands still at 128
    assert w.grad.flatten().tolist() == [-500.0, 500.0]


def test_bit_for_bit_repeatable():
    """The same call twice on the CPU gives the same bits, forward and backward."""

    def once():
        torch.manual_seed(0)
        h, w = torch.randn(40, 32, requires_grad=True), torch.randn(700, 32, requires_grad=True)
        a, b = torch.randn(4, 32, requires_grad=True), torch.randn(32, 4, requires_grad=True)
        y = k.lora_linear(h, w.detach()[:32], a, b, scaling=2.0, dropout_p=0.3)
        k.fused_linear_cross_entropy(k.rms_norm(y, w[0], eps=1e-6), w, torch.arange(40)).backward()
        return [x.grad for x in (h, w, a, b)]

    assert all(torch.equal(x, y) for x, y in zip(once(), once(), strict=True))
