"""The final summary on a terminal: verdict sentence, clusters with their evidence, how to see each again."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

from .diagnosis_text import diagnosis_lines
from .overview import (
    TroubleGroup,
    duration,
    facts,
    headline,
    known_clusters,
    next_moves,
    open_clusters,
    trouble_groups,
    unsupported_groups,
    where,
)
from .page import Page
from .status import STATUSES, outcome_status, standing_status
from .text import TIMES, command_line, count, one_line, printable, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..harness.judging.verdict import Cluster, Verdict

__all__ = ["clusters_text", "deviations_text", "print_summary"]

_MOST_CLUSTERS = 8
_MOST_GROUPS = 5
_PLAIN_WIDTH = 110


def print_summary(
    verdict: Verdict, *, console: Console, out_dir: Path | None = None, verbose: bool = False
) -> None:
    """Print the summary of a run.

    Args:
        verdict: what to show.
        console: where; its colours, width and encoding are respected. Reproduce lines are never wrapped, so
            that they can be copied.
        out_dir: folder of the other reports, named at the end.
        verbose: every cluster and known deviation in full, and tracebacks.
    """
    page = Page(console)
    status = outcome_status(verdict)
    page.line()
    page.line(
        (f"{page.shape(status)} {headline(verdict)}", status.style),
        ("  ", ""),
        (one_line(verdict.sentence, 1000), "bold"),
    )
    _counts(page, verdict)
    _deviations(
        page,
        open_clusters(verdict),
        most=None if verbose else _MOST_CLUSTERS,
        rest="--verbose and report.html",
    )
    if verdict.expiring:
        page.title("ABOUT TO EXPIRE")
        for warning in verdict.expiring:
            page.line((f"  ! {one_line(warning.text, 600)}", "yellow"))
    if verdict.stale:
        page.title("STALE OR EXPIRED KNOWN DEVIATIONS")
        for entry in verdict.stale:
            mark = STATUSES.get(entry.standing, STATUSES["stale"])
            page.line(
                (f"  {page.shape(mark)} {one_line(entry.standing)} ", mark.style),
                (one_line(entry.known_id), "bold"),
                ("  ", ""),
                (one_line(entry.text), ""),
            )
    _trouble(page, verdict, verbose=verbose)
    _quiet(page, verdict, verbose=verbose)
    moves = next_moves(verdict)
    if moves:
        page.title("WHAT TO DO")
        for move in moves:
            page.line(("  - ", ""), (move, ""))
    if out_dir is not None:
        page.line()
        page.line(("Report: ", "bold"), (printable(str(out_dir / "report.html")), ""), wrap=False)


def clusters_text(clusters: Sequence[Cluster]) -> str:
    """Return clusters as the summary shows them, as plain text: what a failing test says."""
    page = _plain_page()
    for number, cluster in enumerate(clusters, 1):
        _cluster(page, number, cluster)
    return page.console.end_capture().strip("\n")


def deviations_text(verdict: Verdict) -> str:
    """Return the open clusters of a run as the summary shows them, as plain text: what ends a pytest session."""
    page = _plain_page()
    _deviations(
        page, open_clusters(verdict), most=_MOST_CLUSTERS, rest="--stepaudit-report and its report.html"
    )
    return page.console.end_capture().strip("\n")


def _plain_page() -> Page:
    """Return a page that captures what is written on it, without colours."""
    console = Console(file=io.StringIO(), width=_PLAIN_WIDTH, color_system=None)
    console.begin_capture()
    return Page(console)


def _counts(page: Page, verdict: Verdict) -> None:
    counts = verdict.counts
    page.line(
        (f"  exit code {verdict.exit_code}", "bold"),
        (f", {count(counts.cells, 'cell')} in {duration(verdict.seconds)}", ""),
        (f" ({counts.from_store:,} from the store)" if counts.from_store else "", "dim"),
        (f", pairs covered {counts.pairs_covered}/{counts.pairs_total}" if counts.pairs_total else "", ""),
    )
    page.items(
        [
            (f"  {page.shape(fact.status)} {fact.number} {fact.word} ", fact.status.style)
            for fact in facts(verdict)
            if fact.number != "0"
        ]
    )


def _deviations(page: Page, clusters: Sequence[Cluster], *, most: int | None, rest: str) -> None:
    """Print the clusters, all but the first `most` in a line each; `rest` names what has them in full."""
    if not clusters:
        return
    page.title(f"DEVIATIONS ({count(len(clusters), 'cluster')})")
    shown = len(clusters) if most is None else most
    for number, cluster in enumerate(clusters[:shown], 1):
        _cluster(page, number, cluster)
    for number, cluster in enumerate(clusters[shown:], shown + 1):
        _folded(page, cluster, f"{number}. ")
    if clusters[shown:]:
        page.line((f"   {len(clusters) - shown} clusters folded; {rest} show them in full", "dim"))


def _cluster(page: Page, number: int, cluster: Cluster) -> None:
    status = standing_status(cluster.standing)
    page.line()
    page.line(
        (f"{number}. ", "bold"),
        (f"{page.shape(status)} {status.word}  ", status.style),
        (f"{one_line(cluster.rule, 60)} {TIMES} {one_line(cluster.subject, 100)}", "bold"),
        (f"   {cluster.failing:,} of {count(cluster.judged, 'cell')}", ""),
    )
    page.field("rule", one_line(cluster.statement))
    page.field("smallest", one_line(cluster.label, 400))
    page.field("formula", one_line(cluster.formula, 600))
    page.field("expected", one_line(cluster.expected, 400), "green")
    page.field("got", one_line(cluster.got, 400), status.style)
    # before what explains it: it has to be on the first screen
    page.line(("   Reproduce with: ", "dim"), (command_line(cluster.reproduce), "cyan"), wrap=False)
    for name, text in diagnosis_lines(cluster):
        page.field(name, one_line(text, 400))
    if cluster.largest is not None:
        large = cluster.largest
        shown = f"{large.label}: expected {large.expected}, got {large.got}"
        page.field("largest", one_line(shown, 600))
    at = cluster.first_divergence
    page.field(
        "books part", f"{where(at)}: {one_line(at.text, 400)}" if where(at) else one_line(at.text, 400)
    )
    if cluster.known_id:
        page.field("known as", f"{one_line(cluster.known_id)}: {one_line(cluster.reason)}")
    if cluster.upstream:
        page.field("upstream", one_line(cluster.upstream))
    if cluster.owner:
        page.field("owner", f"{one_line(cluster.owner)}, until {one_line(cluster.expires or 'never')}")
    if cluster.id:
        page.field("id", one_line(cluster.id))


def _folded(page: Page, cluster: Cluster, lead: str) -> None:
    status = standing_status(cluster.standing)
    known = f"  {one_line(cluster.known_id, 80)}: {one_line(cluster.reason, 110)}" if cluster.known_id else ""
    if cluster.owner:
        known += f" ({one_line(cluster.owner, 40)}, until {cluster.expires}, {one_line(cluster.upstream or '', 60)})"
    page.line(
        (f"{lead}{page.shape(status)} ", status.style),
        (f"{one_line(cluster.rule, 60)} {TIMES} {one_line(cluster.subject, 100)}", ""),
        (f", {count(cluster.failing, 'cell')}{known}", "dim"),
    )


def _trouble(page: Page, verdict: Verdict, *, verbose: bool) -> None:
    groups = trouble_groups(verdict)
    if not groups:
        return
    page.title("NOT JUDGED AND FLAKY")
    most = len(groups) if verbose else _MOST_GROUPS
    for group in groups[:most]:
        _group(page, group, verbose=verbose)
    if groups[most:]:
        cells = sum(len(group.cells) for group in groups[most:])
        page.line(
            (f"  {count(cells, 'more cell')} for {len(groups) - most} other reasons; see report.html", "dim")
        )


def _group(page: Page, group: TroubleGroup, *, verbose: bool) -> None:
    page.line(
        (f"  {page.shape(group.status)} {group.status.word}  ", group.status.style),
        (one_line(group.subject, 100), "bold"),
        (f", {count(len(group.cells), 'cell')}, {one_line(group.kind, 40)}: {group.message}", ""),
    )
    if verbose and group.example.error and group.example.error.traceback:
        trace = shortened(printable(group.example.error.traceback).strip(), 6000)
        for row in trace.splitlines():
            page.line((f"      {row}", "dim"), wrap=False)
    page.line(("    Reproduce with: ", "dim"), (command_line(group.example.reproduce), "cyan"), wrap=False)


def _quiet(page: Page, verdict: Verdict, *, verbose: bool) -> None:
    known = known_clusters(verdict)
    if known:
        page.title(f"KNOWN ({count(len(known), 'cluster')}, {count(verdict.counts.known, 'cell')})")
        for cluster in known if verbose else known[:_MOST_GROUPS]:
            _folded(page, cluster, "  ")
        if not verbose and known[_MOST_GROUPS:]:
            page.line((f"  {len(known) - _MOST_GROUPS} more; --verbose shows them", "dim"))
    unsupported = unsupported_groups(verdict)
    if unsupported:
        page.title(f"UNSUPPORTED ({count(verdict.counts.unsupported, 'cell')})")
        for group in unsupported if verbose else unsupported[:_MOST_GROUPS]:
            page.line(
                (f"  {count(group.cells, 'cell')} of {one_line(group.subject, 100)}: {group.reason}", "dim")
            )
        if not verbose and unsupported[_MOST_GROUPS:]:
            page.line((f"  {len(unsupported) - _MOST_GROUPS} more reasons; --verbose shows them", "dim"))
