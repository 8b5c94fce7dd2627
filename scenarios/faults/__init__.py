"""Seeded faults: wrong trainers, one fault each, and correct but unusual ones. Heavy imports happen when they run."""

from . import (  # noqa: F401  each registers its trainers
    boundary,
    cadence,
    claims,
    gradient,
    loss,
    precision,
    ranks,
    resume,
    schedule,
    target,
    tokens,
    unusual,
)
from .loop import Announcer, Loop
from .registry import FAULTS, UNUSUAL, Family, Fault, Unusual

__all__ = ["FAULTS", "UNUSUAL", "Announcer", "Family", "Fault", "Loop", "Unusual"]
