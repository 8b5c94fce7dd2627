"""Both implementations agree with the float64 reference, forward and backward."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_KEY = "stepaudit_kernel_properties"
if _KEY not in sys.modules:
    _spec = importlib.util.spec_from_file_location(_KEY, Path(__file__).with_name("properties.py"))
    sys.modules[_KEY] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[_KEY])
P = sys.modules[_KEY]

# Derandomised: the same examples in every run, so that a red build is red for everybody.
quick = settings(
    max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
thorough = settings(quick, max_examples=40)


@pytest.mark.parametrize("kernel", P.TRITON_KERNELS)
def test_triton_agrees_with_the_reference(kernel, interpreter):
    """Under the interpreter, outputs and gradients are the formula's within a few roundings, for any shape."""

    @quick
    @given(P.calls(kernel))
    def check(request):
        P.compare(request, interpreter)

    check()


@pytest.mark.parametrize("kernel", P.FOLDERS)
def test_torch_agrees_with_the_reference(kernel, torch_backend):
    """On the torch backend, outputs and gradients are the formula's within a few roundings, for any shape."""

    @thorough
    @given(P.calls(kernel))
    def check(request):
        P.compare(request, torch_backend)

    check()


@pytest.mark.parametrize("kernel", ["cross_entropy", "fused_linear_cross_entropy"])
@pytest.mark.parametrize("backend", ["interpreter", "torch_backend"])
def test_vocabularies_above_65536(kernel, backend, request):
    """A vocabulary that no 16-bit index can hold gives the reference's loss and gradient."""
    run = request.getfixturevalue(backend)

    @settings(quick, max_examples=3)
    @given(P.loss_calls(kernel, st.sampled_from([65537, 70001])))
    def check(call):
        P.compare(call, run)

    check()


@pytest.mark.parametrize("backend", ["interpreter", "torch_backend"])
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_no_label_counts(backend, rows, request):
    """With every label ignored (or no row at all) loss and gradients are exactly zero, not NaN."""
    run = request.getfixturevalue(backend)
    labels = torch.full((rows,), -100)
    for kernel, tensors in (
        ("cross_entropy", {"logits": torch.randn(rows, 33)}),
        ("fused_linear_cross_entropy", {"hidden": torch.randn(rows, 5), "weight": torch.randn(33, 5)}),
    ):
        names = tuple(tensors)
        got = run(
            P.Request(kernel=kernel, tensors={**tensors, "labels": labels}, differentiable=names, options={})
        )
        assert got.outputs[0].item() == 0
        assert all(g.eq(0).all() for g in got.grads.values())


@pytest.mark.parametrize("backend", ["interpreter", "torch_backend"])
def test_extreme_logits(backend, request):
    """A label of probability e^-200, and masked (-inf) vocabulary entries, give the exact loss and gradient."""
    run = request.getfixturevalue(backend)
    logits = torch.zeros(3, 5000)
    logits[0, 7] = 200.0
    logits[1, :4500] = -torch.inf
    logits[2] = -100.0
    labels = torch.tensor([3, 4700, 9])
    exact = torch.nn.functional.cross_entropy(logits.double(), labels, reduction="sum")
    got = run(
        P.Request(
            kernel="cross_entropy",
            tensors={"logits": logits.clone(), "labels": labels},
            differentiable=("logits",),
            options={"num_items_in_batch": 1},
            seed=1,
        )
    )
    # float32 resolves 200 to 8e-6, and three such losses are added
    assert abs(got.outputs[0].double() - exact) < 1e-4
    assert got.grads["logits"].isfinite().all()


class _Mutant:
    """A reference with one function replaced."""

    def __init__(self, kernel, function):
        setattr(self, kernel, function)


def _mutants():
    from stepaudit.kernels.cross_entropy.reference import cross_entropy
    from stepaudit.kernels.gated.reference import geglu, swiglu
    from stepaudit.kernels.linear_cross_entropy.reference import fused_linear_cross_entropy
    from stepaudit.kernels.lora.reference import lora_linear, lora_mlp, lora_qkv
    from stepaudit.kernels.norms.reference import add_rms_norm, layer_norm, rms_norm
    from stepaudit.kernels.packed_attention.reference import packed_attention
    from stepaudit.kernels.rope.reference import rope

    off = 1 + 2**-2  # a quarter: visible in every dtype
    yield "rms_norm", lambda x, weight, *, eps, offset: rms_norm(x, weight, eps=eps, offset=offset + 1)
    yield (
        "add_rms_norm",
        lambda x, residual, weight, **o: (
            add_rms_norm(x, residual, weight, **o)[0],
            (x + residual).detach() + 0 * x,
        ),
    )
    yield "layer_norm", lambda x, weight, bias, *, eps: layer_norm(x * off, weight, bias, eps=eps) * off
    yield "rope", lambda q, k, cos, sin: rope(q, k, cos, -sin)
    yield "swiglu", lambda gate, up: swiglu(gate, up.detach()) + 0 * up
    yield "geglu", lambda gate, up, **o: geglu(gate.detach(), up, **o) + 0 * gate
    yield "cross_entropy", lambda logits, labels, **o: cross_entropy(logits * off, labels, **o)
    yield (
        "fused_linear_cross_entropy",
        lambda hidden, weight, labels, **o: fused_linear_cross_entropy(hidden, weight * off, labels, **o),
    )
    yield (
        "lora_linear",
        lambda x, weight, lora_a, lora_b, **o: (
            lora_linear(x, weight, lora_a.detach(), lora_b, **o) + 0 * lora_a.sum()
        ),
    )
    yield "lora_qkv", lambda x, q, k, v: lora_qkv(x, k, q, v)
    yield "lora_mlp", lambda x, gate, up, down, **o: lora_mlp(x, up, gate, down, **o)
    yield (
        "packed_attention",
        lambda q, k, v, cu_seqlens, **o: packed_attention(q, k, v, cu_seqlens[[0, -1]], **o),
    )


@pytest.mark.parametrize(("kernel", "wrong"), list(_mutants()), ids=lambda v: v if isinstance(v, str) else "")
def test_the_comparison_rejects_a_wrong_formula(kernel, wrong, torch_backend):
    """A reference with one mistake (sign, missing gradient, swapped operand) is told from the right one."""

    @thorough
    @given(P.calls(kernel))
    def check(request):
        P.compare(request, torch_backend, mutate=_Mutant(kernel, wrong))

    with pytest.raises((AssertionError, ExceptionGroup)):
        check()
