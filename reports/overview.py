"""What every report shows first: headline, counts, clusters in order, trouble in groups, what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..harness.judging.verdict import (
    CellOutcome,
    CellVerdict,
    Cluster,
    Divergence,
    Standing,
    Verdict,
    VerdictOutcome,
)
from .status import STATUSES, Status, cell_status, standing_status, worst
from .text import command_line, count, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Fact",
    "Matrix",
    "MatrixEntry",
    "TroubleGroup",
    "UnsupportedGroup",
    "by_severity",
    "duration",
    "facts",
    "headline",
    "known_clusters",
    "matrix",
    "next_moves",
    "open_clusters",
    "trouble_groups",
    "unsupported_groups",
    "where",
]

_HEADLINES = {
    VerdictOutcome.PASSED: "PASSED",
    VerdictOutcome.VIOLATED: "FAILED",
    VerdictOutcome.NOT_JUDGED: "NOT JUDGED",
    VerdictOutcome.NOTHING: "NOTHING COMPARED",
    VerdictOutcome.INTERRUPTED: "INTERRUPTED",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One figure of the run, e.g. 12 cells that deviate in a known way."""

    number: str
    word: str
    status: Status
    query: str = ""
    """what to write into the search box to see these cells"""


@dataclass(frozen=True, kw_only=True, slots=True)
class TroubleGroup:
    """Cells of one subject that could not be judged, or that are flaky, for the same reason."""

    status: Status
    subject: str
    kind: str
    message: str
    cells: tuple[CellVerdict, ...]

    @property
    def example(self) -> CellVerdict:
        """The first of the cells."""
        return self.cells[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class UnsupportedGroup:
    """Cells that a subject declines for the same reason."""

    subject: str
    reason: str
    cells: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixEntry:
    """One rule under one subject."""

    judged: int
    deviating: int
    status: Status


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """Rule by subject; rules that deviate somewhere come first, pairs that were never met have no entry."""

    rules: tuple[str, ...]
    subjects: tuple[str, ...]
    entries: dict[tuple[str, str], MatrixEntry]

    @property
    def deviating_rules(self) -> tuple[str, ...]:
        """Rules that at least one subject breaks."""
        broken = {rule for (rule, _), entry in self.entries.items() if entry.deviating}
        return tuple(rule for rule in self.rules if rule in broken)


def headline(verdict: Verdict) -> str:
    """Return the one or two words over the run, e.g. `FAILED`."""
    return _HEADLINES[verdict.outcome]


def open_clusters(verdict: Verdict) -> list[Cluster]:
    """Return the clusters that nobody has accepted, worst standing first, then in the order of the rules.

    All of them fail the gate but those of informational subjects, which come last.
    """
    return _sorted(
        verdict, [cluster for cluster in verdict.clusters if cluster.standing is not Standing.KNOWN]
    )


def known_clusters(verdict: Verdict) -> list[Cluster]:
    """Return the clusters that the known deviations cover."""
    return _sorted(verdict, [cluster for cluster in verdict.clusters if cluster.standing is Standing.KNOWN])


def by_severity(cells: Iterable[CellVerdict]) -> list[CellVerdict]:
    """Return the cells, worst status first, else in their order."""
    rank = {key: position for position, key in enumerate(STATUSES)}
    return sorted(cells, key=lambda cell: rank[cell_status(cell).key])


def facts(verdict: Verdict) -> list[Fact]:
    """Return the counts of the run; zeros keep their place, so that the order can be trusted."""
    counts = verdict.counts
    shown = [
        ("new", counts.new, "new"),
        ("drifted", counts.drifted, "drifted"),
        ("expired", counts.expired, "expired"),
        ("stale", counts.stale, ""),
        ("flaky", counts.flaky, "verdict:flaky"),
        ("error", counts.not_judged, "verdict:error"),
        ("informational", counts.informational, "informational"),
        ("known", counts.known, "known"),
        ("conforms", counts.conforms, "verdict:conforms"),
        ("unsupported", counts.unsupported, "verdict:unsupported"),
    ]
    return [
        Fact(
            number=f"{number:,}",
            word="conform" if key == "conforms" else STATUSES[key].word,
            status=STATUSES[key],
            query=query,
        )
        for key, number, query in shown
    ]


def next_moves(verdict: Verdict) -> list[str]:
    """Return what a reader should do now, most urgent first; nothing after a clean pass."""
    counts, moves = verdict.counts, []
    if verdict.outcome is VerdictOutcome.NOTHING:
        moves.append(
            "Nothing was compared, which is never a pass: check the selection, the suite and the subjects."
        )
    if verdict.outcome is VerdictOutcome.INTERRUPTED:
        moves.append(
            f"The run was interrupted. The same command runs what is missing: {command_line(verdict.command)}"
        )
    if counts.new or counts.drifted:
        moves.append(
            "Replay the smallest case of a cluster with its “Reproduce with” line, and mend the trainer."
        )
        moves.append(
            "A deviation that is understood and accepted goes into known_deviations.toml, with its reason: "
            "stepaudit baseline review"
        )
    if verdict.gate is not None and verdict.gate.missed:
        moves.append(
            f"The gate of {one_line(verdict.gate.source)} is missed: run the whole suite, or change the gate in review "
            "(--no-gate leaves it out)."
        )
    if counts.expired or counts.stale:
        moves.append(
            "Known deviations that no longer show must be removed; expired ones mended or given a new reason."
        )
    if counts.flaky:
        moves.append("Flaky cells gave two ledgers for one scenario: look for an unseeded draw or a race.")
    if counts.not_judged:
        moves.append(
            f"{count(counts.not_judged, 'cell')} could not be judged: see the errors. No books, no verdict."
        )
    return moves


def trouble_groups(verdict: Verdict) -> list[TroubleGroup]:
    """Return cells without a verdict and flaky cells, those with the same subject and message as one."""
    groups: dict[tuple[str, str, str, str], list[CellVerdict]] = {}
    for cell in verdict.cells:
        if cell.verdict is CellOutcome.ERROR:
            kind, message = (cell.error.kind, cell.error.message) if cell.error else ("error", "no record")
        elif cell.verdict is CellOutcome.FLAKY:
            kind, message = "flaky", cell.error.message if cell.error else "two identical runs differ"
        else:
            continue
        groups.setdefault((cell.verdict.value, cell.subject, kind, one_line(message)), []).append(cell)
    found = [
        TroubleGroup(status=STATUSES[key], subject=subject, kind=kind, message=message, cells=tuple(cells))
        for (key, subject, kind, message), cells in groups.items()
    ]
    return sorted(found, key=lambda group: -len(group.cells))


def unsupported_groups(verdict: Verdict) -> list[UnsupportedGroup]:
    """Return the reasons for which subjects declined cells, the most frequent first."""
    groups: dict[tuple[str, str], int] = {}
    for cell in verdict.cells:
        if cell.verdict is CellOutcome.UNSUPPORTED:
            key = (cell.subject, one_line(cell.reason))
            groups[key] = groups.get(key, 0) + 1
    found = [UnsupportedGroup(subject=key[0], reason=key[1], cells=number) for key, number in groups.items()]
    return sorted(found, key=lambda group: -group.cells)


def matrix(verdict: Verdict) -> Matrix:
    """Return how often each subject was judged by each rule, and how often it broke it."""
    judged: dict[tuple[str, str], int] = {}
    broken: dict[tuple[str, str], list[Status]] = {}
    subjects: dict[str, None] = {}
    for cell in verdict.cells:
        subjects.setdefault(cell.subject)
        for rule in cell.rules_checked:
            judged[rule, cell.subject] = judged.get((rule, cell.subject), 0) + 1
        for rule in {deviation.rule for deviation in cell.deviations}:
            statuses = [standing_status(item.standing) for item in cell.deviations if item.rule == rule]
            broken.setdefault((rule, cell.subject), []).append(worst(statuses))
    entries = {
        pair: MatrixEntry(
            judged=max(judged.get(pair, 0), len(broken.get(pair, ()))),
            deviating=len(broken.get(pair, ())),
            status=worst(broken[pair]) if pair in broken else STATUSES["conforms"],
        )
        for pair in {**judged, **broken}
    }
    rules = dict.fromkeys([summary.rule for summary in verdict.rules] + [rule for rule, _ in entries])
    weight = {
        rule: sum(entry.deviating for (name, _), entry in entries.items() if name == rule) for rule in rules
    }
    return Matrix(
        rules=tuple(sorted(rules, key=lambda rule: -weight[rule])), subjects=tuple(subjects), entries=entries
    )


def where(at: Divergence) -> str:
    """Return `event 105, update 9`, or what of it is known."""
    event = [] if at.event is None else [f"event {at.event:,}"]
    return ", ".join([*event, *([] if at.update is None else [f"update {at.update:,}"])])


def duration(seconds: float) -> str:
    """Return `0.4 s`, `12 s`, `3 min 20 s` or `2 h 05 min`."""
    if not 0 <= seconds < 10**7:
        return f"{seconds} s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60:02d} s"
        if whole < 3600
        else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )


def _sorted(verdict: Verdict, clusters: list[Cluster]) -> list[Cluster]:
    """Return the clusters by standing, then in the order of the rules, then by their cells."""
    standing = {key: position for position, key in enumerate(STATUSES)}
    rule = {summary.rule: position for position, summary in enumerate(verdict.rules)}
    return sorted(
        clusters,
        key=lambda cluster: (
            standing[cluster.standing.value],
            rule.get(cluster.rule, len(rule)),
            -cluster.failing,
        ),
    )
