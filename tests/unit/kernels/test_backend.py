"""The backend switch: explicit, scoped, and loud about what is unavailable."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
import torch
from stepaudit import kernels
from stepaudit.kernels import Backend, BackendUnavailableError, active_backend, set_backend, use_backend


def test_defaults_by_device():
    """Without a choice, the CPU runs torch and CUDA runs Triton."""
    assert active_backend("cpu") is Backend.TORCH
    assert active_backend("cuda") is Backend.TRITON


def test_a_choice_is_scoped():
    """`use_backend` restores what was chosen before, also after an error."""
    with use_backend("torch"):
        assert active_backend("cuda") is Backend.TORCH
    assert active_backend("cuda") is Backend.TRITON
    with pytest.raises(KeyError), use_backend("torch"):
        raise KeyError
    assert active_backend("cuda") is Backend.TRITON


def test_unknown_name_is_an_error_with_the_names():
    with pytest.raises(ValueError, match="unknown kernel backend 'tritn'; choose one of 'triton', 'torch'"):
        set_backend("tritn")


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the choice is available")
def test_triton_without_gpu_is_an_error_with_the_reason():
    """Asking for Triton where no device can run it fails at once and changes nothing."""
    with pytest.raises(
        BackendUnavailableError, match=r"run on cuda devices, not on 'cpu'.*TRITON_INTERPRET=1"
    ):
        set_backend("triton")
    assert active_backend("cpu") is Backend.TORCH


def test_triton_on_a_cpu_tensor_is_an_error(monkeypatch):
    """A process that chose Triton for its GPU refuses CPU tensors instead of falling back in silence."""
    monkeypatch.setattr(kernels.backend, "_chosen", Backend.TRITON)
    with pytest.raises(BackendUnavailableError, match=r"'triton' \(chosen\) is unavailable"):
        kernels.rms_norm(torch.ones(2, 3), torch.ones(3), eps=1e-6)


def test_import_needs_no_triton():
    """Importing the kernels and running them on torch works, and names the reason, where Triton is missing."""
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'triton' else find(n, *a)\n"
        "import torch\nfrom stepaudit import kernels as k\n"
        "k.rms_norm(torch.ones(2, 3), torch.ones(3), eps=1e-6)\n"
        "try: k.set_backend('triton')\n"
        "except k.BackendUnavailableError as e: print(e)\n"
    )
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, env=env, check=False, timeout=120
    )
    assert child.returncode == 0, child.stderr
    assert "the package 'triton' is not installed" in child.stdout


def test_import_does_not_load_triton():
    """Triton is loaded when a Triton kernel first runs, not before."""
    code = "import sys, stepaudit.kernels\nprint(sorted(m for m in sys.modules if m == 'triton'))"
    child = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert child.stdout.strip() == "[]"


def test_float64_is_refused_by_triton(interpreter):
    """The Triton kernels compute in float32: float64 input is refused, not narrowed."""
    request = importlib.import_module("stepaudit_kernel_worker").Request(
        kernel="rms_norm",
        tensors={"x": torch.ones(2, 3, dtype=torch.float64), "weight": torch.ones(3, dtype=torch.float64)},
        differentiable=(),
        options={"eps": 1e-6},
    )
    with pytest.raises(RuntimeError, match=r"takes float32, bfloat16 and float16, got torch\.float64"):
        interpreter(request)
