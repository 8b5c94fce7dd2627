"""What should have come out: rows replayed one by one for the weights, windows replayed for curves and parameters."""

from __future__ import annotations

from .projection import Projection
from .replay import replay_run

__all__ = ["Projection", "replay_run"]
