"""Which cells have lanes, weight books and curves on their page, and these as plain data, within a budget."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..harness.contract import CONTRACTS, draw_up
from ..harness.contract.formulas import epochs_formula, micro_batches_formula, target_formula, updates_formula
from ..harness.ledger import Outcome
from .cell_curves import cell_curves_of
from .lanes import lanes_of
from .overview import known_clusters, open_clusters
from .weight_books import WeightBooks, weight_books_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..harness.judging.verdict import CellVerdict, Divergence, Verdict
    from ..harness.ledger import CellRecord

__all__ = ["CHOSEN", "Details", "details_of"]

MOST_CELLS = 60
MOST_CHARACTERS = 700_000
REFERENCE = "hf"
CHOSEN = (
    "the smallest and the largest case of every cluster, of each subject the run that comes nearest to its envelope, "
    "then further cells that deviate, cluster by cluster, and the reference's cells of the same scenarios"
)
"""in words, which cells are chosen"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Details:
    """What the pages of some cells show besides the verdict.

    Attributes:
        cells: cell id to lanes, books, curves and formulas; JSON values only.
        deviating: how many cells deviate, chosen or not.
    """

    cells: dict[str, dict[str, Any]]
    deviating: int


def details_of(
    verdict: Verdict, lookup: Callable[[str], CellRecord | None], *, also: Sequence[str] = ()
) -> Details:
    """Read the ledgers of the chosen cells; at most MOST_CELLS of them and MOST_CHARACTERS of data.

    Args:
        verdict: the run.
        lookup: cell id to its record, or None where there is none.
        also: ids of cells that are worth a look although they may conform; they come after every cluster's examples.
    """
    cells = {cell.id: cell for cell in verdict.cells}
    references = {_point(cell): cell.id for cell in verdict.cells if cell.subject == REFERENCE}
    found: dict[str, dict[str, Any]] = {}
    room = MOST_CHARACTERS
    for cell_id in _chosen(verdict, also):
        cell = cells.get(cell_id)
        if cell is None or cell_id in found:
            continue
        twin = references.get(_point(cell)) if cell.subject != REFERENCE else None
        for wanted in (cell_id, twin):
            if wanted is None or wanted in found:
                continue
            detail = _detail(cells[wanted], lookup(wanted), twin if wanted == cell_id else None)
            if detail is not None:
                room -= len(json.dumps(detail, separators=(",", ":")))
                if room < 0 or len(found) >= MOST_CELLS:
                    return Details(cells=found, deviating=_deviating(verdict))
                found[wanted] = detail
    return Details(cells=found, deviating=_deviating(verdict))


def _chosen(verdict: Verdict, also: Sequence[str]) -> Iterator[str]:
    """Yield ids, the most wanted first; some come more than once."""
    clusters = [*open_clusters(verdict), *known_clusters(verdict)]
    for cluster in clusters:
        yield cluster.smallest
        if cluster.largest is not None:
            yield cluster.largest.cell_id
    yield from also
    longest = max((len(cluster.cell_ids) for cluster in clusters), default=0)
    for number in range(min(longest, MOST_CELLS)):
        for cluster in clusters:
            if number < len(cluster.cell_ids):
                yield cluster.cell_ids[number]


def _detail(cell: CellVerdict, record: CellRecord | None, twin: str | None) -> dict[str, Any] | None:
    contract = CONTRACTS.get(cell.contract)
    if record is None or contract is None or record.outcome is not Outcome.COMPLETED:
        return None
    books = draw_up(record, contract)
    at = _first(cell)
    lanes = lanes_of(record.events, at.event if at else None, missing=at is not None and at.event is None)
    weights = weight_books_of(books, at.update if at else None)
    curves = cell_curves_of(books)
    terms = books.expected.terms
    return {
        "lanes": asdict(lanes),
        "books": _compact(weights) if weights is not None else None,
        "curves": asdict(curves) if curves is not None else None,
        "reference": twin,
        "formulas": [
            target_formula(record.scenario, terms, contract),
            epochs_formula(record.scenario, terms),
            updates_formula(terms, contract),
            micro_batches_formula(record.scenario, terms),
        ],
    }


def _compact(books: WeightBooks) -> dict[str, Any]:
    """Return the books with every multiple once: `entries` is line, column, position in `values`, and so on."""
    values = list(dict.fromkeys(value for _, _, value in books.entries))
    place = {value: at for at, value in enumerate(values)}
    flat = [part for line, column, value in books.entries for part in (line, column, place[value])]
    return {**asdict(books), "entries": flat, "values": values}


def _first(cell: CellVerdict) -> Divergence | None:
    """Return the earliest divergence of a cell; one with an event before one without."""
    found = [item.first_divergence for item in cell.deviations]
    return min(found, key=lambda at: (at.event is None, at.event or 0), default=None)


def _deviating(verdict: Verdict) -> int:
    return sum(bool(cell.deviations) for cell in verdict.cells)


def _point(cell: CellVerdict) -> str:
    return json.dumps(cell.scenario, sort_keys=True, default=str)
