"""How many label tokens each row has: closed forms that workloads build and the contract counts with."""

from __future__ import annotations

from .scenario import LengthProfile, Scenario

__all__ = ["label_tokens_of_row", "longest", "row_length"]

_EQUAL = 4
_RAGGED_MOST = 7


def label_tokens_of_row(row: int, lengths: LengthProfile) -> int:
    """Label tokens of one row after the shift: 4 for equal rows; 1 to 7, without a short period, for ragged ones."""
    if lengths is LengthProfile.EQUAL:
        return _EQUAL
    return 1 + (row * 2654435761 >> 9) % _RAGGED_MOST


def longest(lengths: LengthProfile) -> int:
    """The most label tokens that any row of this profile has."""
    return _EQUAL if lengths is LengthProfile.EQUAL else _RAGGED_MOST


def row_length(scenario: Scenario) -> int:
    """Positions of every row of the tracer's dataset, padding included (label tokens of the longest, and one)."""
    return longest(scenario.lengths) + 1
