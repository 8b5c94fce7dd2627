"""In which versions of a subject something is wrong, and since when, as far as the versions that ran can say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from .overview import open_clusters
from .status import STATUSES, Status, standing_status, worst

if TYPE_CHECKING:
    from ..harness.judging.verdict import Cluster, Verdict

__all__ = ["Lineage", "VersionMark", "lineages"]


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionMark:
    """One version of a subject that ran: how it stands, and in how many of its judged cells rules are broken."""

    subject: str
    version: str
    status: Status
    failing: int
    judged: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """The versions of one subject, oldest first, and what they say together."""

    name: str
    versions: tuple[VersionMark, ...]
    text: str


def lineages(verdict: Verdict) -> list[Lineage]:
    """Return every subject that ran in at least two versions, one of which breaks a rule that nobody has accepted."""
    broken: dict[str, list[Cluster]] = {}
    for cluster in open_clusters(verdict):
        broken.setdefault(cluster.subject, []).append(cluster)
    judged: dict[str, int] = {}
    for cell in verdict.cells:
        judged[cell.subject] = judged.get(cell.subject, 0) + (cell.account is not None)
    names: dict[str, list[tuple[Version, str]]] = {}
    for subject, cells in judged.items():
        name, _, text = subject.rpartition("@")
        if name and cells and (version := _version(text)) is not None:
            names.setdefault(name, []).append((version, subject))
    found = []
    for name, versions in names.items():
        marks = tuple(
            _mark(subject, broken.get(subject, []), judged[subject]) for _, subject in sorted(versions)
        )
        if len(marks) > 1 and any(mark.failing for mark in marks):
            found.append(Lineage(name=name, versions=marks, text=_text(marks)))
    return found


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _mark(subject: str, clusters: list[Cluster], judged: int) -> VersionMark:
    failing = {cell_id for cluster in clusters for cell_id in cluster.cell_ids}
    status = worst([standing_status(cluster.standing) for cluster in clusters] or [STATUSES["conforms"]])
    return VersionMark(
        subject=subject,
        version=subject.rpartition("@")[2],
        status=status,
        failing=len(failing),
        judged=judged,
    )


def _text(marks: tuple[VersionMark, ...]) -> str:
    """Say since when; what no version that ran can tell is said as such."""
    wrong = [at for at, mark in enumerate(marks) if mark.failing]
    first, last = marks[wrong[0]].version, marks[wrong[-1]].version
    since = (
        f"since {first} or earlier (no older version ran)"
        if wrong[0] == 0
        else f"since {first}; {marks[wrong[0] - 1].version} was right"
    )
    if wrong[-1] == len(marks) - 1:
        return f"{since}; still wrong in {last}, the newest version that ran"
    between = [marks[at].version for at in range(wrong[0], wrong[-1]) if at not in wrong]
    gaps = f" (but not in {', '.join(between)})" if between else ""
    return f"{since}, up to {last}{gaps}; right from {marks[wrong[-1] + 1].version} on"
