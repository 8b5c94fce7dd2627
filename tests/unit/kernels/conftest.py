"""Runners of the kernel tests: torch in this process, Triton's interpreter in a child."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


def _load(name: str):
    key = f"stepaudit_kernel_{name}"
    if key not in sys.modules:
        spec = importlib.util.spec_from_file_location(key, Path(__file__).with_name(f"{name}.py"))
        sys.modules[key] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[key])
    return sys.modules[key]


@pytest.fixture(scope="session")
def properties():
    return _load("properties")


@pytest.fixture(scope="session")
def interpreter():
    """A function that runs a request under Triton's interpreter, in a child of this session."""
    child = _load("worker").Interpreter()
    yield child.run
    child.close()


@pytest.fixture(scope="session")
def torch_backend():
    """A function that runs a request on the torch backend, in this process."""
    from stepaudit import kernels

    def run(request):
        with kernels.use_backend("torch"):
            return _load("worker").execute(request, kernels)

    return run
