"""The kernels on CUDA: the properties of the unit tests, on the device, plus what only a device shows."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings

_KEY = "stepaudit_kernel_properties"
if _KEY not in sys.modules:
    _path = Path(__file__).parents[1] / "unit" / "kernels" / "properties.py"
    _spec = importlib.util.spec_from_file_location(_KEY, _path)
    sys.modules[_KEY] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[_KEY])
P = sys.modules[_KEY]

pytestmark = pytest.mark.gpu


def _run(backend):
    from stepaudit import kernels

    def run(request):
        moved = {n: None if x is None else P.lay_out(x.cuda(), "dense") for n, x in request.tensors.items()}
        # the same strides on the device: a copy keeps them where no two elements share memory
        for name, x in request.tensors.items():
            if x is not None and x.is_floating_point() and x.numel():
                moved[name] = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="cuda").copy_(x)
        options = {n: o.cuda() if torch.is_tensor(o) else o for n, o in request.options.items()}
        with kernels.use_backend(backend):
            return P.execute(
                P.Request(
                    kernel=request.kernel,
                    tensors=moved,
                    differentiable=request.differentiable,
                    options=options,
                    seed=request.seed,
                ),
                kernels,
            )

    return run


many = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(autouse=True)
def exact_products():
    """No TF32: its products have 11 bits, and the comparison is with float32's 24."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("backend", ["triton", "torch"])
@pytest.mark.parametrize("kernel", P.FOLDERS)
def test_cuda_agrees_with_the_reference(kernel, backend):
    """On the device, outputs and gradients are the formula's within a few roundings, for any shape."""
    run = _run(backend)

    @many
    @given(P.calls(kernel))
    def check(request):
        P.compare(request, run)

    check()


@pytest.mark.parametrize("kernel", ["cross_entropy", "fused_linear_cross_entropy"])
def test_vocabularies_above_65536(kernel):
    """A vocabulary that no 16-bit index can hold gives the reference's loss and gradient."""
    from hypothesis import strategies as st

    run = _run("triton")

    @settings(many, max_examples=5)
    @given(P.loss_calls(kernel, st.sampled_from([65537, 128256, 262144])))
    def check(request):
        P.compare(request, run)

    check()


def test_offsets_beyond_two_to_the_31():
    """Logits of more than 2³¹ elements are addressed with 64 bits: the last row is right."""
    from stepaudit import kernels

    rows, vocabulary = 17000, 131072
    if torch.cuda.mem_get_info()[0] < 3 * rows * vocabulary * 2:
        pytest.skip("needs 13 GB of free device memory")
    logits = torch.zeros(rows, vocabulary, dtype=torch.bfloat16, device="cuda")
    logits[-1, 5] = 3.0
    labels = torch.full((rows,), -100, device="cuda")
    labels[-1] = 5
    exact = torch.nn.functional.cross_entropy(logits[-1:].double(), labels[-1:])
    logits.requires_grad_()
    loss = kernels.cross_entropy(logits, labels)
    loss.backward()
    assert abs(loss.double() - exact) < 1e-5  # a float32 sum of 131,072 terms in blocks
    assert logits.grad[-1, 5] < -0.9
    assert logits.grad[:-1].abs().max() == 0


@pytest.mark.parametrize("hidden", [1024, 4096, 8192])
def test_no_spills_on_this_device(hidden):
    """What the driver loads on this device spills as little as ahead-of-time compilation says: nothing."""
    from stepaudit.kernels import aot, builds

    major, minor = torch.cuda.get_device_capability()
    capability = 10 * major + minor
    if capability not in aot.CAPABILITIES:
        pytest.skip(f"compute capability {capability} is not one of {aot.CAPABILITIES}")
    for build in builds.all_builds():
        if build.size == f"H={hidden}":
            assert aot.compile_build(build, capability).fits


def test_fused_head_peaks_below_the_logits():
    """Peak device memory of the fused head stays below the size of the logits that it does not materialise."""
    from stepaudit import kernels

    tokens, hidden, vocabulary = 8192, 1024, 128256
    h = torch.randn(tokens, hidden, dtype=torch.bfloat16, device="cuda", requires_grad=True)
    w = torch.randn(vocabulary, hidden, dtype=torch.bfloat16, device="cuda")
    labels = torch.randint(0, vocabulary, (tokens,), device="cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    kernels.fused_linear_cross_entropy(h, w, labels).backward()
    assert torch.cuda.max_memory_allocated() - before < tokens * vocabulary * 2
