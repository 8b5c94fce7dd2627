"""The helpers of the contract's tests are importable here."""

import sys
from pathlib import Path

import pytest

for folder in (Path(__file__).parent, Path(__file__).parents[1] / "contract"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


@pytest.fixture(scope="session", autouse=True)
def frozen_heap():
    """See the contract's tests."""
    from cell_runs import freeze_heap

    freeze_heap()
