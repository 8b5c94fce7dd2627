"""Helpers of this folder are importable here, in the tests of its neighbours and in workers."""

import sys
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.append(HERE)


@pytest.fixture(scope="session", autouse=True)
def frozen_heap():
    """Cells of a Trainer cost milliseconds instead of a fifth of a second once the imports are frozen."""
    from cell_runs import freeze_heap

    freeze_heap()
