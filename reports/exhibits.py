"""The exhibits of a report: the smallest case of each cluster, with its ledger and the reference's."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..harness.ledger import CellRecord
from .curves import Curve, curve_of
from .ledger_text import LedgerLine, excerpt
from .overview import known_clusters, open_clusters
from .text import printable, shortened

if TYPE_CHECKING:
    from ..harness.judging.verdict import CellVerdict, Cluster, Verdict

__all__ = ["MOST_EXHIBITS", "REFERENCE", "Exhibit", "RecordsLookup", "cluster_key", "exhibits_of"]

MOST_EXHIBITS = 12
"""clusters whose ledgers are opened; a page with more curves than this is not read"""
REFERENCE = "hf"

RecordsLookup = Callable[[str], CellRecord | None]
"""cell id to its record, or None where the store has none"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exhibit:
    """What the ledger of a cluster's smallest cell shows.

    Attributes:
        slug: names the files of its figures.
        curve: its loss and learning rate, if it made an update.
        reference: those of `hf` on the same scenario, if it ran.
        lines: the ledger around the first divergence.
        output: head and tail of what the subject printed.
    """

    slug: str
    cluster: Cluster
    cell: CellVerdict
    curve: Curve | None
    reference: Curve | None
    lines: tuple[LedgerLine, ...]
    output: str


def cluster_key(cluster: Cluster) -> tuple[str, str, str, str]:
    """Return what tells one cluster from the others of its verdict."""
    return cluster.rule, cluster.subject, cluster.standing.value, cluster.known_id or ""


def exhibits_of(verdict: Verdict, lookup: RecordsLookup) -> list[Exhibit]:
    """Return an exhibit for the first clusters, failures first; reads at most two ledgers for each."""
    clusters = [*open_clusters(verdict), *known_clusters(verdict)][:MOST_EXHIBITS]
    cells = {cell.id: cell for cell in verdict.cells}
    references = {_point(cell): cell.id for cell in verdict.cells if cell.subject == REFERENCE}
    found = []
    for number, cluster in enumerate(clusters, 1):
        cell = cells.get(cluster.smallest)
        record = lookup(cluster.smallest)
        if cell is None or record is None:
            continue
        other_id = references.get(_point(cell)) if cell.subject != REFERENCE else None
        other = lookup(other_id) if other_id is not None else None
        found.append(
            Exhibit(
                slug=f"{number:02d}-{_slug(cluster.rule)}-{_slug(cluster.subject)}",
                cluster=cluster,
                cell=cell,
                curve=curve_of(record),
                reference=curve_of(other) if other is not None else None,
                lines=tuple(excerpt(record.events, cluster.first_divergence)),
                output=shortened(printable(record.output).strip(), 4000),
            )
        )
    return found


def _point(cell: CellVerdict) -> str:
    return json.dumps(cell.scenario, sort_keys=True, default=str)


def _slug(text: str) -> str:
    kept = "".join(char if char.isascii() and (char.isalnum() or char in ".-") else "-" for char in text[:60])
    return "-".join(part for part in kept.strip(".-").split("-") if part)[:40] or "subject"
