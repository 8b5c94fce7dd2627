"""What earlier runs found: a small SQLite file of the user, which gives a deviation a date, a commit and a version."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..judging.verdict import CellOutcome, Verdict
from .packed import encodable

__all__ = [
    "CellHistory",
    "HistoryPoint",
    "RuleHistory",
    "SubjectHistory",
    "cell_histories",
    "history_path",
    "read_history",
    "record_run",
]

KEPT_RUNS = 500
"""of one project; older ones are forgotten"""
_APPLICATION = 0x57A0D171
_VERSION = 1
_BUSY_S = 10.0
_SCHEMA = f"""
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, project TEXT NOT NULL, started TEXT NOT NULL, command TEXT NOT NULL, suite TEXT NOT NULL,
    commit_name TEXT, dirty INTEGER NOT NULL, exit_code INTEGER NOT NULL, packages TEXT NOT NULL
);
CREATE INDEX runs_by_project ON runs (project, id);
CREATE TABLE tallies (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE, subject TEXT NOT NULL, rule TEXT NOT NULL,
    checked INTEGER NOT NULL, deviating INTEGER NOT NULL, PRIMARY KEY (run, subject, rule)
) WITHOUT ROWID;
CREATE TABLE cells (
    id INTEGER PRIMARY KEY, subject TEXT NOT NULL, scenario TEXT NOT NULL, label TEXT NOT NULL,
    UNIQUE (subject, scenario)
);
CREATE TABLE judged (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE, cell INTEGER NOT NULL REFERENCES cells,
    broken TEXT NOT NULL, PRIMARY KEY (run, cell)
) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
"""


_LAST = "SELECT * FROM runs WHERE ? IS NULL OR project = ? ORDER BY id DESC LIMIT ?"
_RULES = (
    "SELECT subject, rule, checked, deviating, started, commit_name, dirty, packages"  # noqa: S608  our own text
    f" FROM tallies JOIN ({_LAST}) AS last ON tallies.run = last.id ORDER BY last.id"
)
_CELLS = (
    "SELECT subject, label, scenario, broken, 1, broken <> '',"  # noqa: S608  our own text
    " started, commit_name, dirty, packages"
    f" FROM judged JOIN ({_LAST}) AS last ON judged.run = last.id"
    " JOIN cells ON cells.id = judged.cell ORDER BY last.id"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryPoint:
    """One run in which something was judged.

    Attributes:
        started: ISO 8601.
        commit: name of the commit, None where there was none; `dirty` where the working tree differed from it.
        packages: versions.
        checked, deviating: cells. Of a single cell: 1, and 1 or 0.
    """

    started: str
    commit: str | None
    dirty: bool
    packages: Mapping[str, str]
    checked: int
    deviating: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectHistory:
    """Something about one subject, run by run, the oldest first."""

    subject: str
    points: tuple[HistoryPoint, ...]

    @property
    def since(self) -> HistoryPoint | None:
        """The run with which the present deviation began; None where the last run had none."""
        first = None
        for point in reversed(self.points):
            if not point.deviating:
                break
            first = point
        return first

    @property
    def before(self) -> HistoryPoint | None:
        """The last run that conformed before the present deviation; None where there is none, or no run did."""
        if self.since is None:
            return None
        return next((point for point in reversed(self.points) if not point.deviating), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleHistory(SubjectHistory):
    """One rule."""

    rule: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CellHistory(SubjectHistory):
    """One cell that deviated in its last run, and which rules it broke there."""

    label: str
    scenario: Mapping[str, Any]
    rules: tuple[str, ...]


def history_path() -> Path | None:
    """Return `STEPAUDIT_HISTORY`, or the file in the user's data directory; None where the variable is empty."""
    chosen = os.environ.get("STEPAUDIT_HISTORY")
    if chosen is not None:
        return Path(chosen) if chosen else None
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "stepaudit" / "history.sqlite"
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "stepaudit" / "history.sqlite"


def record_run(path: Path, verdict: Verdict, *, project: str, commit: str | None, dirty: bool) -> None:
    """Append a run.

    Args:
        path: the file, made when it is missing.
        verdict: of the run.
        project: what tells its project from others.
        commit: the commit under test, None where there is none.
        dirty: whether the working tree differed from it.

    Raises:
        OSError, sqlite3.Error: it cannot be written, or is not ours.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path) as connection, connection:
        connection.execute("BEGIN IMMEDIATE")
        run = connection.execute(
            "INSERT INTO runs (project, started, command, suite, commit_name, dirty, exit_code, packages)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                project,
                verdict.started,
                encodable(verdict.command),
                encodable(verdict.suite),
                commit,
                dirty,
                verdict.exit_code,
                json.dumps(verdict.environment.packages | {"stepaudit": verdict.environment.stepaudit}),
            ),
        ).lastrowid
        tallies: dict[tuple[str, str], list[int]] = {}
        for cell in verdict.cells:
            if cell.verdict not in {CellOutcome.CONFORMS, CellOutcome.DEVIATES}:
                continue
            broken = {deviation.rule for deviation in cell.deviations}
            for rule in cell.rules_checked:
                tally = tallies.setdefault((encodable(cell.subject), rule), [0, 0])
                tally[0] += 1
                tally[1] += rule in broken
            key = (encodable(cell.subject), json.dumps(cell.scenario, sort_keys=True))
            connection.execute(
                "INSERT OR IGNORE INTO cells (subject, scenario, label) VALUES (?, ?, ?)", (*key, cell.label)
            )
            connection.execute(
                "INSERT OR REPLACE INTO judged (run, cell, broken)"
                " VALUES (?, (SELECT id FROM cells WHERE subject = ? AND scenario = ?), ?)",
                (run, *key, " ".join(sorted(broken))),
            )
        connection.executemany(
            "INSERT INTO tallies (run, subject, rule, checked, deviating) VALUES (?, ?, ?, ?, ?)",
            [(run, *pair, *tally) for pair, tally in tallies.items()],
        )
        connection.execute(
            "DELETE FROM runs WHERE project = ? AND id NOT IN"
            " (SELECT id FROM runs WHERE project = ? ORDER BY id DESC LIMIT ?)",
            (project, project, KEPT_RUNS),
        )


def read_history(path: Path, *, project: str | None, runs: int = 60) -> tuple[RuleHistory, ...]:
    """Return every rule × subject that was judged in the last runs; nothing where there is no file yet.

    Args:
        path: the file.
        project: whose runs; None means everybody's.
        runs: how many of them, the newest.

    Raises:
        OSError, sqlite3.Error: it cannot be read, or is not ours.
    """
    if not path.is_file():
        return ()
    with _opened(path) as connection:
        found: dict[tuple[str, str], list[HistoryPoint]] = {}
        rows = connection.execute(_RULES, _last(project, runs))
        for subject, rule, *point in rows:
            found.setdefault((subject, rule), []).append(_point(*point))
    return tuple(
        RuleHistory(subject=subject, rule=rule, points=tuple(points))
        for (subject, rule), points in sorted(found.items())
    )


def cell_histories(
    path: Path,
    *,
    project: str | None,
    wanted: Callable[[Mapping[str, Any]], bool],
    subject: Callable[[str], bool] = lambda name: True,  # noqa: ARG005  every one
    runs: int = 60,
) -> tuple[CellHistory, ...]:
    """Return the cells whose last run deviated, of those that are wanted by their scenario.

    Raises:
        OSError, sqlite3.Error: it cannot be read, or is not ours.
    """
    if not path.is_file():
        return ()
    found: dict[tuple[str, str, str], list[tuple[str, HistoryPoint]]] = {}
    with _opened(path) as connection:
        rows = connection.execute(_CELLS, _last(project, runs))
        for name, label, scenario, broken, *point in rows:
            found.setdefault((name, label, scenario), []).append((broken, _point(*point)))
    return tuple(
        CellHistory(
            subject=name,
            label=label,
            scenario=fields,
            rules=tuple(points[-1][0].split()),
            points=tuple(point for _, point in points),
        )
        for (name, label, scenario), points in found.items()
        if points[-1][0] and subject(name) and wanted(fields := json.loads(scenario))
    )


def _last(project: str | None, runs: int) -> tuple[str | None, str | None, int]:
    return project, project, runs


def _point(
    checked: int, deviating: int, started: str, commit: str | None, dirty: int, packages: str
) -> HistoryPoint:
    return HistoryPoint(
        started=started,
        commit=commit,
        dirty=bool(dirty),
        packages=json.loads(packages),
        checked=checked,
        deviating=deviating,
    )


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file, and refuse one that is not ours."""
    with closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        elif (application, version) != (_APPLICATION, _VERSION):
            raise sqlite3.DatabaseError("it is a database of another program, or of another version")
        yield connection
