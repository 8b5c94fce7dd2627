"""Where it deviates: subject by parameter, the share of cells that deviate at every value, most telling first."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..harness.judging.verdict import CellOutcome, CellVerdict, Standing, Verdict
from .status import STATUSES, Status
from .text import quoted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Heat", "HeatBlock", "HeatCell", "HeatRow", "heat_of"]

MOST_BLOCKS = 12
MOST_VALUES = 8
"""values of a parameter that get a column each; numbers beyond that share columns"""
_JUDGED = {CellOutcome.CONFORMS, CellOutcome.DEVIATES, CellOutcome.FLAKY}
_LEFT_OUT = {"seed", "tier", "model", "learning_rate"}
"""fields on which no accounting may depend, or that go with another one"""
_FAILING, _INFORMATIONAL, _KNOWN, _NONE = range(4)
_MARKS = {_FAILING: "new", _INFORMATIONAL: "informational", _KNOWN: "known", _NONE: "conforms"}


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatCell:
    """Cells of one subject at one value of a parameter: those that deviate, of those judged.

    Attributes:
        deviating: how many deviate.
        judged: of so many.
        query: finds these cells, but for the subject.
        mark: new where any of them fails the gate, else informational or known, or conforms where none deviates.
    """

    deviating: int
    judged: int
    query: str
    mark: Status

    @property
    def level(self) -> int:
        """0 for none, then 1 to 5 by the share."""
        return math.ceil(5 * self.deviating / self.judged)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatRow:
    """One subject; None where it has no judged cell at a value."""

    subject: str
    cells: tuple[HeatCell | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatBlock:
    """One parameter: its values as columns, the subjects as rows."""

    parameter: str
    values: tuple[str, ...]
    rows: tuple[HeatRow, ...]
    telling: float
    """how much of the difference between cells the parameter explains, 0 to 1, on average over subjects that deviate;
    over those that fail the gate, where any does"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Heat:
    """All blocks.

    Attributes:
        blocks: the most telling first.
        rest: parameters that have no block.
        open_only: cells with known deviations alone count as conforming, since others fail the gate.
        told: the marks of cells that deviate and fail nothing.
    """

    blocks: tuple[HeatBlock, ...]
    rest: tuple[str, ...]
    open_only: bool
    told: tuple[Status, ...]


def heat_of(verdict: Verdict) -> Heat:
    """Return the blocks of all parameters that vary, the most telling first."""
    import pandas as pd

    cells = [cell for cell in verdict.cells if cell.verdict in _JUDGED]
    ranks = [_rank(cell) for cell in cells]
    open_only = _FAILING in ranks
    if open_only:
        ranks = [_NONE if rank == _KNOWN else rank for rank in ranks]
    fields = dict.fromkeys(name for cell in cells for name in cell.scenario if name not in _LEFT_OUT)
    subjects = list(dict.fromkeys(cell.subject for cell in cells))
    place = {subject: at for at, subject in enumerate(subjects)}
    blocks = []
    for name in fields:
        values = [cell.scenario.get(name) for cell in cells]
        columns = _columns(values)
        if len(columns) > 1:
            frame = pd.DataFrame(
                {
                    "subject": [place[cell.subject] for cell in cells],
                    "column": [_column_of(value, columns) for value in values],
                    "rank": ranks,
                    "fails": [rank != _NONE for rank in ranks],
                }
            )
            blocks.append(_block(name, columns, subjects, frame, open_only=open_only))
    blocks.sort(key=lambda block: -block.telling)
    return Heat(
        blocks=tuple(blocks[:MOST_BLOCKS]),
        rest=tuple(block.parameter for block in blocks[MOST_BLOCKS:]),
        open_only=open_only,
        told=tuple(STATUSES[_MARKS[rank]] for rank in (_INFORMATIONAL, _KNOWN) if rank in ranks),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Column:
    text: str
    query: str
    low: Any
    high: Any


def _rank(cell: CellVerdict) -> int:
    """Return how a cell counts by the worst of its deviations."""
    standings = {item.standing for item in cell.deviations}
    if any(standing.fails for standing in standings):
        return _FAILING
    if Standing.INFORMATIONAL in standings:
        return _INFORMATIONAL
    return _KNOWN if standings else _NONE


def _columns(values: list[Any]) -> list[_Column]:
    """Return a column a value, or ranges that hold about equally many cells each; None comes last."""
    numbers = sorted(
        value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)
    )
    distinct = list(dict.fromkeys(numbers))
    columns = []
    if len(distinct) > MOST_VALUES:
        cuts = [numbers[len(numbers) * at // MOST_VALUES] for at in range(MOST_VALUES)]
        lows = list(dict.fromkeys([distinct[0], *cuts[1:]]))
        for low, after in zip(lows, [*lows[1:], None], strict=True):
            inside = [value for value in distinct if value >= low and (after is None or value < after)]
            columns.append(_range(inside[0], inside[-1]))
    else:
        columns += [_range(value, value) for value in distinct]
    words = dict.fromkeys(value for value in values if isinstance(value, (str, bool)))
    for word in sorted(words, key=str):
        text = str(word).lower() if isinstance(word, bool) else word
        plain = re.fullmatch(r"[A-Za-z0-9_-]+", text) is not None
        columns.append(_Column(text=text, query=text if plain else quoted(text), low=word, high=word))
    if any(value is None for value in values):
        columns.append(_Column(text="none", query="none", low=None, high=None))
    return columns


def _range(low: float, high: float) -> _Column:
    if low == high:
        return _Column(text=f"{low:g}", query=f"{low:g}", low=low, high=high)
    return _Column(text=f"{low:g}–{high:g}", query=f"{low:g}..{high:g}", low=low, high=high)


def _column_of(value: Any, columns: list[_Column]) -> int:
    return next((at for at, column in enumerate(columns) if _falls(value, column)), -1)


def _falls(value: Any, column: _Column) -> bool:
    if value is None or isinstance(value, (str, bool)):
        return type(value) is type(column.low) and bool(value == column.low)
    number = isinstance(column.low, (int, float)) and not isinstance(column.low, bool)
    return number and bool(column.low <= value <= column.high)


def _block(
    name: str, columns: list[_Column], subjects: list[str], frame: pd.DataFrame, *, open_only: bool
) -> HeatBlock:
    groups = frame.groupby(["subject", "column"])
    counts = groups.agg(deviating=("fails", "sum"), judged=("fails", "count"), rank=("rank", "min"))
    found = {key: tuple(map(int, row)) for key, *row in counts.itertuples()}
    rows = []
    explained = []
    for number, subject in enumerate(subjects):
        cells: list[HeatCell | None] = []
        for at, column in enumerate(columns):
            if (number, at) not in found:
                cells.append(None)
                continue
            deviating, judged, rank = found[number, at]
            mark = STATUSES[_MARKS[rank]]
            cells.append(
                HeatCell(deviating=deviating, judged=judged, query=f"{name}:{column.query}", mark=mark)
            )
        rows.append(HeatRow(subject=subject, cells=tuple(cells)))
        present = [cell for cell in cells if cell is not None]
        if any(cell.mark is STATUSES["new"] if open_only else cell.deviating for cell in present):
            explained.append(_explained(present))
    return HeatBlock(
        parameter=name,
        values=tuple(column.text for column in columns),
        rows=tuple(rows),
        telling=sum(explained) / len(explained) if explained else 0.0,
    )


def _explained(cells: list[HeatCell]) -> float:
    """Return the share of the variance between cells that lies between the values."""
    total = sum(cell.judged for cell in cells)
    share = sum(cell.deviating for cell in cells) / total if total else 0.0
    whole = total * share * (1 - share)
    between = sum(cell.judged * (cell.deviating / cell.judged - share) ** 2 for cell in cells)
    return between / whole if whole else 0.0
