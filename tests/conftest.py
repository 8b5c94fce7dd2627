"""What every test needs: the checkout off the path, one thread, no network, and GPUs only where they are."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# `kernels` at the root would shadow the distribution of that name, which transformers imports when it is there.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]

for _name, _value in {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg"}.items():
    os.environ.setdefault(_name, _value)


def pytest_addoption(parser):
    parser.addoption(
        "--require-gpu",
        action="store_true",
        help="fail tests marked gpu where there is no CUDA device, instead of skipping them",
    )


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") is None or _has_cuda():
        return
    if item.config.getoption("--require-gpu"):
        pytest.fail("--require-gpu: there is no CUDA device", pytrace=False)
    pytest.skip("needs a CUDA device")


@cache
def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
