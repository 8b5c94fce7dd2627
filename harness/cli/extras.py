"""What the report shows besides the verdict: what its subjects can be asked for, and how each rule stood before."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...scenarios.known import KnownDeviation
from ..judging.verdict import Verdict
from ..running.history import history_path, read_history
from ..subjects import SubjectError, resolve
from ..subjects.capabilities import capabilities_of
from .git import project_of

if TYPE_CHECKING:
    from ...reports.extras import Asked, Extras

__all__ = ["extras_of"]

MOST_SUBJECTS = 24
"""subjects of a run that get a column of the capability table"""


def extras_of(verdict: Verdict, known: Sequence[KnownDeviation]) -> Extras:
    """Return what a report shows besides the verdict.

    Args:
        verdict: of the run.
        known: the known deviations that the table of capabilities names.
    """
    return replace(_history(verdict), capabilities=_capabilities(verdict, known))


def _capabilities(verdict: Verdict, known: Sequence[KnownDeviation]) -> Mapping[str, tuple[Asked, ...]]:
    """Return what the subjects can be asked for; a loop of one's own is not imported for it."""
    from ...reports.extras import Asked

    found: dict[str, tuple[Asked, ...]] = {}
    for name in dict.fromkeys(cell.subject for cell in verdict.cells):
        if ":" in name or len(found) == MOST_SUBJECTS:
            continue
        try:
            cells = capabilities_of(resolve(name), known)
        except SubjectError:
            continue  # a plug-in that is not installed where the report is made
        found[name] = tuple(
            Asked(feature=cell.feature, reason=cell.reason, known=cell.known) for cell in cells
        )
    return found


def _history(verdict: Verdict) -> Extras:
    """Return what the history of this project has from before a run; nothing where it cannot be read."""
    from ...reports.extras import NO_EXTRAS, Extras, Past

    path = history_path()
    if path is None:
        return NO_EXTRAS
    try:
        histories = read_history(path, project=project_of(Path.cwd()))
    except (OSError, sqlite3.Error):
        return NO_EXTRAS  # whoever adds this run to it says so
    earlier = {
        (item.rule, item.subject): [point for point in item.points if point.started < verdict.started]
        for item in histories
    }
    wanted = [(cluster.rule, cluster.subject) for cluster in verdict.clusters if cluster.standing.fails]
    wanted += [] if wanted else list(earlier)
    points = next((earlier[pair] for pair in wanted if earlier.get(pair)), [])
    held = next((point for point in reversed(points) if not point.deviating), None)
    compared = held or (points[-1] if points else None)
    what = "the last run in which it held" if held else "the run before"
    return Extras(
        history={
            pair: tuple(
                Past(
                    started=point.started,
                    commit=point.commit,
                    checked=point.checked,
                    deviating=point.deviating,
                )
                for point in found
            )
            for pair, found in earlier.items()
            if found
        },
        baseline=None if compared is None else compared.packages,
        baseline_name="" if compared is None else f"{what}, {compared.started}",
    )
