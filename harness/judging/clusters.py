"""Deviations gathered into clusters: one a rule, subject and standing, with its smallest and its largest cell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count

from ...scenarios.known import KnownDeviation
from ..contract import RULES
from .verdict import CellVerdict, Cluster, Deviation, Example, Standing

__all__ = ["clusters_of"]

_URGENCY = (Standing.NEW, Standing.DRIFTED, Standing.EXPIRED, Standing.INFORMATIONAL, Standing.KNOWN)


def clusters_of(cells: Sequence[CellVerdict], known: Mapping[str, KnownDeviation]) -> list[Cluster]:
    """Return the clusters of a run, the most urgent first; rules are in their order from cause to consequence.

    Args:
        cells: all cells of the run.
        known: the known deviations, by id.
    """
    groups: dict[tuple[str, str, Standing, str | None], list[tuple[CellVerdict, Deviation]]] = {}
    judged = Counter((rule, cell.subject) for cell in cells for rule in cell.rules_checked)
    for cell in cells:
        first: dict[tuple[str, str, Standing, str | None], Deviation] = {}
        for item in cell.deviations:  # a rule may have several findings in a cell: one stands for them
            first.setdefault((item.rule, cell.subject, item.standing, item.known_id), item)
        for key, deviation in first.items():
            groups.setdefault(key, []).append((cell, deviation))
    clusters = []
    for (rule, subject, standing, known_id), members in groups.items():
        cell, deviation = min(members, key=lambda member: _size(member[0]))
        large, its_deviation = max(members, key=lambda member: _size(member[0]))
        entry = known.get(known_id) if known_id else None
        clusters.append(
            Cluster(
                rule=rule,
                statement=RULES[rule].statement,
                subject=subject,
                standing=standing,
                known_id=known_id,
                reason=entry.reason if entry else "",
                upstream=entry.upstream if entry else None,
                owner=entry.owner if entry else None,
                expires=entry.expires.isoformat() if entry else None,
                failing=len(members),
                judged=judged[rule, subject],
                cell_ids=[member.id for member, _ in members],
                smallest=cell.id,
                label=cell.label,
                expected=deviation.expected,
                got=deviation.got,
                formula=deviation.formula,
                first_divergence=deviation.first_divergence,
                reproduce=deviation.reproduce,
                largest=None
                if large is cell
                else Example(
                    cell_id=large.id,
                    label=large.label,
                    expected=its_deviation.expected,
                    got=its_deviation.got,
                ),
            )
        )
    order = list(RULES)
    clusters.sort(
        key=lambda item: (_URGENCY.index(item.standing), order.index(item.rule), -item.failing, item.subject)
    )
    return _identified(clusters)


def _identified(clusters: Sequence[Cluster]) -> list[Cluster]:
    """Give every cluster an id that says what it is, and that nobody else in the run has."""
    found: list[Cluster] = []
    taken: set[str] = set()
    for cluster in clusters:
        words = [cluster.rule, cluster.subject]
        words += [] if cluster.standing is Standing.NEW else [cluster.standing.value]
        base = re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")
        name = next(item for number in count(1) if (item := _numbered(base, number)) not in taken)
        taken.add(name)
        found.append(cluster.model_copy(update={"id": name}))
    return found


def _numbered(base: str, number: int) -> str:
    return base if number == 1 else f"{base}-{number}"


def _size(cell: CellVerdict) -> tuple[int, int, str]:
    """Smaller scenarios first: fewer micro-batches to look at, then a shorter description."""
    micro_batches = cell.account.expected.micro_batches if cell.account else None
    return (micro_batches or 0, len(cell.label), cell.label)
