"""Writes new entries into a file of known deviations, and leaves everything that is in it as it is."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from .toml_text import value_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["EMPTY_KNOWN", "appended", "entry_text"]

EMPTY_KNOWN = """# Deviations that are known and accepted for a time (stepaudit baseline). In review like code.

schema = 1
"""


def entry_text(fields: Mapping[str, str | date | Sequence[str] | None]) -> str:
    """Return a `[[known]]` table; fields that are None are left out."""
    lines = [f"{name} = {_value(value)}" for name, value in fields.items() if value is not None]
    return "\n".join(["[[known]]", *lines]) + "\n"


def appended(text: str, entries: Sequence[str]) -> str:
    """Return the text of a file with entries at its end; comments and entries that it has stay to the letter."""
    end = "" if text.endswith("\n") or not text else "\n"
    return text + end + "".join(f"\n{entry}" for entry in entries)


def _value(value: str | date | Sequence[str]) -> str:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return value_text(value)
    return f"[{', '.join(map(value_text, value))}]"
