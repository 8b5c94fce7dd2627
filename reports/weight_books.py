"""The weight books of a cell: what every row weighed in every update, as a multiple of what was due."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..harness.contract import window_weights
from ..harness.contract.rules.weights import tolerance_of, unclipped_weights

if TYPE_CHECKING:
    from ..harness.contract import CellBooks

__all__ = ["FOREIGN", "WeightBooks", "weight_books_of"]

MOST_UPDATES = 48
MOST_ROWS = 64
FOREIGN = -1.0
"""stands for a row that weighed although it was not in the window"""


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightBooks:
    """Row by update.

    Attributes:
        rows: row ids, one a line.
        updates: 1-based numbers, one a column.
        entries: (line, column, multiple of the due weight), exactly 1 within the tolerance of the rule `weight`; a
            pair that is not here has nothing due and got nothing.
        more_rows, more_updates: how many are left out.
    """

    rows: tuple[int, ...]
    updates: tuple[int, ...]
    entries: tuple[tuple[int, int, float], ...]
    more_rows: int
    more_updates: int


def weight_books_of(books: CellBooks, around: int | None) -> WeightBooks | None:
    """Return the books of the updates around one of them; None where the ledger has no weights.

    Args:
        books: of a completed cell.
        around: 1-based optimizer step that must be among them.
    """
    done = [update for update in books.observed.done if update.weights is not None]
    if not done:
        return None
    middle = next((at for at, update in enumerate(done) if update.index >= (around or 1)), len(done))
    tolerance = tolerance_of(books)
    begin = max(0, min(middle - MOST_UPDATES // 2, len(done) - MOST_UPDATES))
    found: dict[int, dict[int, float]] = {}
    shown = done[begin : begin + MOST_UPDATES]
    for column, update in enumerate(shown):
        due = window_weights(books.contract, books.scenario, update)
        got = unclipped_weights(books, update) or {}
        for row, value in _multiples(due, got, tolerance).items():
            found.setdefault(row, {})[column] = value
    rows = sorted(found)
    right_last = sorted(rows, key=lambda row: all(value == 1 for value in found[row].values()))
    kept = sorted(right_last[:MOST_ROWS])
    return WeightBooks(
        rows=tuple(kept),
        updates=tuple(update.index for update in shown),
        entries=tuple(
            (line, column, value) for line, row in enumerate(kept) for column, value in found[row].items()
        ),
        more_rows=len(rows) - len(kept),
        more_updates=len(done) - len(shown),
    )


def _multiples(due: dict[int, float], got: dict[int, float], tolerance: float) -> dict[int, float]:
    """Return row to its weight in one update as a multiple of what was due, FOREIGN where nothing was."""
    found = {}
    for row, want in due.items():
        value = float(f"{got.get(row, 0.0) / want:.9g}")
        found[row] = 1.0 if abs(value - 1) <= tolerance else value
    least = tolerance * max(map(abs, due.values()), default=0.0)
    return found | {row: FOREIGN for row, weight in got.items() if row not in due and abs(weight) > least}
