"""What the report shows of earlier runs: how each rule stood, and the packages when the first broken one last held."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from ..judging.verdict import Verdict
from ..running.history import history_path, read_history
from .git import project_of

if TYPE_CHECKING:
    from ...reports.extras import Extras

__all__ = ["extras_of"]


def extras_of(verdict: Verdict) -> Extras:
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
