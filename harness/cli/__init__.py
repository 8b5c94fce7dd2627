"""The command line: `stepaudit run`, `predict`, `check`, `report`, `replay`, `doctor`."""

from .app import main

__all__ = ["main"]
