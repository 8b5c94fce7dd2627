"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

__all__ = ["GateFile", "Many"]

Many = Annotated[list[str] | None, Parameter(negative="", allow_repeating=True)]
"""an option that may be repeated"""

GateFile = Annotated[Path | None, Parameter(negative_none="no-")]
"""--gate FILE, --no-gate"""
