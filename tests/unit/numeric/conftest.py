"""Helpers of this folder and of the contract are importable here; a Trainer runs quickly once imports are frozen."""

import gc
import sys
from pathlib import Path

import pytest

for folder in (Path(__file__).parent, Path(__file__).parents[1] / "contract"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


@pytest.fixture(scope="session", autouse=True)
def frozen_heap():
    """`Trainer.train` collects garbage, and most of the heap is imports."""
    import accelerate  # noqa: F401
    import hypothesis  # noqa: F401  # else its plugin does so at the end, and finds its referrers frozen
    import peft  # noqa: F401
    import transformers.trainer  # noqa: F401
    from stepaudit.harness.subjects import hf_arguments, loop_parts  # noqa: F401
    from stepaudit.harness.training import loop  # noqa: F401
    from stepaudit.harness.workloads import numeric  # noqa: F401

    gc.collect()
    gc.freeze()
