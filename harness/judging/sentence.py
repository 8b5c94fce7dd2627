"""The verdict of a run in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from .verdict import Cluster, Counts, GateTerms, StaleEntry, VerdictOutcome

__all__ = ["sentence_of"]


def sentence_of(
    outcome: VerdictOutcome,
    counts: Counts,
    clusters: Sequence[Cluster],
    stale: Sequence[StaleEntry],
    gate: GateTerms | None,
    *,
    judged: int,
    flaky: int,
) -> str:
    """Return the verdict for people, what is wrong first; a missed floor of the gate is always in it.

    Args:
        outcome: what the run comes to.
        counts: of all cells.
        clusters: the worst first.
        stale: known deviations that fail the gate.
        gate: the project's gate.
        judged: cells with books, of the subjects that can fail.
        flaky: those of them that gave two ledgers.
    """
    said = _said(outcome, counts, clusters, stale, judged, flaky)
    if gate is None or not gate.missed:
        return said
    missed = f"The gate is missed: {'; '.join(floor.text for floor in gate.missed)}."
    broken = bool(stale or flaky or (clusters and clusters[0].standing.fails))
    only = outcome is VerdictOutcome.VIOLATED and not broken
    return f"{missed} {said}" if only else f"{said} {missed}"


def _said(
    outcome: VerdictOutcome,
    counts: Counts,
    clusters: Sequence[Cluster],
    stale: Sequence[StaleEntry],
    judged: int,
    flaky: int,
) -> str:
    rest = f"; {counts.not_judged} could not be judged" if counts.not_judged else ""
    if outcome is VerdictOutcome.PASSED:
        return f"{_judged(judged)}{_besides(counts)}."
    if outcome is VerdictOutcome.NOT_JUDGED:
        return f"{counts.not_judged} of {_cells(counts.cells)} gave no ledger; the other {judged} hold."
    if outcome is VerdictOutcome.NOTHING:
        if counts.conforms or counts.deviates or counts.flaky:
            return "Every cell that could be judged is of an informational subject: the gate has nothing to hold."
        return f"None of {_cells(counts.cells)} could be judged ({counts.unsupported} unsupported)."
    if outcome is VerdictOutcome.INTERRUPTED:
        return f"{_judged(judged)} so far{rest}. The same command goes on from here."
    if clusters and clusters[0].standing.fails:
        return f"{_accusation(clusters)}{rest}."
    if flaky:
        return f"{_cells(flaky)} gave two different ledgers in two identical runs{rest}."
    if stale:
        entries = "known deviation is" if len(stale) == 1 else "known deviations are"
        return f"{len(stale)} {entries} stale or expired{rest}."
    return f"{_judged(judged)}{_besides(counts)}{rest}."


def _judged(judged: int) -> str:
    return f"{_cells(judged)} judged"


def _cells(number: int) -> str:
    return f"{number} cell" if number == 1 else f"{number} cells"


def _besides(counts: Counts) -> str:
    known = f", {counts.known} of them with known deviations only" if counts.known else ""
    return known + (f", {counts.informational} more deviate for information" if counts.informational else "")


def _accusation(clusters: Sequence[Cluster]) -> str:
    """Name the first broken rule, every subject that breaks it, and what the smallest and the largest case show."""
    first = clusters[0]
    alike = [item for item in clusters if (item.rule, item.standing) == (first.rule, first.standing)]
    parts = [f"{item.subject} in {item.failing} of {_cells(item.judged)}" for item in alike]
    shown = f"{first.got} where the contract says {first.expected} ({first.label})"
    if first.largest is not None:
        shown += f", {first.largest.got} where it says {first.largest.expected} ({first.largest.label})"
    return f"`{first.rule}` is broken by {', '.join(parts)}: {shown}"
