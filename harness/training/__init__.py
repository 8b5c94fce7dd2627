"""A fine-tuning loop with fused kernels, for full and LoRA training of Llama models; usable on its own.

Names are loaded when they are first used, so that looking at the settings does not import transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import TrainingConfig
    from .events import (
        Event,
        Handler,
        Logged,
        Saved,
        StopTraining,
        TrainingBegan,
        TrainingEnded,
        WindowFinished,
    )
    from .fusion import Fusion, fuse, unfuse
    from .loop import fine_tune
    from .plan import TrainingPlan, plan_training
    from .result import TrainingResult

_HOME = {
    "TrainingConfig": "config",
    "Event": "events",
    "Handler": "events",
    "Logged": "events",
    "Saved": "events",
    "StopTraining": "events",
    "TrainingBegan": "events",
    "TrainingEnded": "events",
    "WindowFinished": "events",
    "Fusion": "fusion",
    "fuse": "fusion",
    "unfuse": "fusion",
    "fine_tune": "loop",
    "TrainingPlan": "plan",
    "plan_training": "plan",
    "TrainingResult": "result",
}

__all__ = [
    "Event",
    "Fusion",
    "Handler",
    "Logged",
    "Saved",
    "StopTraining",
    "TrainingBegan",
    "TrainingConfig",
    "TrainingEnded",
    "TrainingPlan",
    "TrainingResult",
    "WindowFinished",
    "fine_tune",
    "fuse",
    "plan_training",
    "unfuse",
]


def __getattr__(name: str) -> Any:
    """Load a public name from the module it lives in."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOME[name]}", __name__), name)
