"""Workflow commands of GitHub Actions: at most nine annotations, one a finding, at the line where one would look."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .overview import open_clusters, trouble_groups
from .text import TIMES, command_line, count, one_line, shortened

if TYPE_CHECKING:
    from ..harness.judging.verdict import Cluster, Verdict

__all__ = ["MOST_ANNOTATIONS", "Place", "Places", "annotation_lines", "commands_stopped"]

MOST_ANNOTATIONS = 9
"""GitHub shows ten of a kind for a job's every part and drops the rest without a word"""
_LONGEST = 3000


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A line of a file of the repository, relative to its root."""

    file: str
    line: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where findings are shown; each function returns None where it knows no place.

    Attributes:
        of_cluster: the scenario in the suite's file, or the trainer.
        of_entry: a known deviation, by its id.
        of_gate: the project's gate.
    """

    of_cluster: Callable[[Cluster], Place | None]
    of_entry: Callable[[str], Place | None]
    of_gate: Place | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Annotation:
    level: str
    title: str
    text: str
    place: Place | None


def annotation_lines(verdict: Verdict, places: Places) -> list[str]:
    """Return the commands that annotate a run: failures first; of more than nine, the ninth counts the rest."""
    found = list(_annotations(verdict, places))
    if len(found) > MOST_ANNOTATIONS:
        rest = len(found) - MOST_ANNOTATIONS + 1
        more = _Annotation(
            level="error" if verdict.exit_code else "warning",
            title="stepaudit: more",
            text=f"{rest} more findings have no annotation; the step summary and report.html have them.",
            place=None,
        )
        found = [*found[: MOST_ANNOTATIONS - 1], more]
    return [_command(item) for item in found]


@contextmanager
def commands_stopped(write: Callable[[str], object]) -> Iterator[None]:
    """Let what is printed meanwhile be text, whatever a trainer's name or traceback looks like."""
    token = secrets.token_hex(16)
    write(f"::stop-commands::{token}")
    try:
        yield
    finally:
        write(f"::{token}::")


def _annotations(verdict: Verdict, places: Places) -> Iterator[_Annotation]:
    missed = verdict.gate.missed if verdict.gate is not None else []
    for cluster in open_clusters(verdict):
        if not cluster.standing.fails:
            continue
        entry = places.of_entry(cluster.known_id) if cluster.known_id else None
        yield _Annotation(
            level="error",
            title=f"{cluster.standing.value}: {cluster.rule} {TIMES} {cluster.subject}",
            text=_evidence(cluster),
            place=entry or places.of_cluster(cluster),
        )
    for stale in verdict.stale:
        yield _Annotation(
            level="error",
            title=f"{stale.standing} known deviation",
            text=one_line(stale.text, 1000),
            place=places.of_entry(stale.known_id),
        )
    for floor in missed:
        yield _Annotation(
            level="error", title=f"gate missed: {floor.term}", text=floor.text, place=places.of_gate
        )
    for group in trouble_groups(verdict):
        yield _Annotation(
            level="error",
            title=f"{group.status.word}: {group.subject}",
            text=f"{count(len(group.cells), 'cell')}, {group.kind}: {group.message}\n"
            f"Reproduce with: {command_line(group.example.reproduce)}",
            place=None,
        )
    for warning in verdict.expiring:
        yield _Annotation(
            level="warning",
            title="known deviation about to expire",
            text=one_line(warning.text, 1000),
            place=places.of_entry(warning.known_id),
        )


def _evidence(cluster: Cluster) -> str:
    lines = [
        f"{cluster.failing:,} of {count(cluster.judged, 'cell')}, smallest {one_line(cluster.label, 400)}",
        f"formula: {one_line(cluster.formula, 600)}",
        f"expected: {one_line(cluster.expected, 400)}",
        f"got: {one_line(cluster.got, 400)}",
        f"Reproduce with: {command_line(cluster.reproduce)}",
    ]
    return "\n".join(lines)


def _command(item: _Annotation) -> str:
    fields = {"title": shortened(one_line(item.title, 200), 200)}
    if item.place is not None:
        fields = {"file": item.place.file, "line": str(item.place.line), **fields}
    head = ",".join(f"{name}={_property(value)}" for name, value in fields.items())
    return f"::{item.level} {head}::{_data(shortened(item.text, _LONGEST))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
