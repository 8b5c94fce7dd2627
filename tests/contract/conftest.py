"""Differential tests: the contract against the real trainers. Bounded by hypothesis profiles of their own."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "unit" / "contract"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


@pytest.fixture(scope="session", autouse=True)
def frozen_heap():
    """Cells of a Trainer cost milliseconds instead of a fifth of a second once the imports are frozen."""
    from cell_runs import freeze_heap

    freeze_heap()


@pytest.fixture(autouse=True)
def quiet_trainers(monkeypatch):
    """A tokenizer's threads and a progress bar's thread have no place in a cell."""
    monkeypatch.setitem(os.environ, "TOKENIZERS_PARALLELISM", "false")
