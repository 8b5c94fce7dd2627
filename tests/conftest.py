"""What every test needs: the checkout off the path, one thread, no network."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# `kernels` at the root would shadow the distribution of that name, which transformers imports when it is there.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]

_VARIABLES = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg", "STEPAUDIT_HISTORY": ""}
for _name, _value in _VARIABLES.items():
    os.environ.setdefault(_name, _value)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
