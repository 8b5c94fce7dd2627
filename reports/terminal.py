"""The final summary on a terminal: verdict sentence, clusters with their evidence, how to see each again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

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
from .status import STATUSES, Status, outcome_status, standing_status
from .text import DASH, TIMES, command_line, count, one_line, printable, shortened

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from ..harness.judging.verdict import Cluster, Verdict

__all__ = ["print_summary"]

_MOST_CLUSTERS = 8
_MOST_GROUPS = 5


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
    page = _Page(console)
    status = outcome_status(verdict)
    page.line()
    page.line(
        (f"{page.shape(status)} {headline(verdict)}", status.style),
        ("  ", ""),
        (one_line(verdict.sentence, 1000), "bold"),
    )
    _counts(page, verdict)
    opened = open_clusters(verdict)
    most = len(opened) if verbose else _MOST_CLUSTERS
    if opened:
        page.title(f"DEVIATIONS ({count(len(opened), 'cluster')})")
        for number, cluster in enumerate(opened[:most], 1):
            _cluster(page, number, cluster)
        for number, cluster in enumerate(opened[most:], most + 1):
            _folded(page, cluster, f"{number}. ")
        if opened[most:]:
            page.line(
                (
                    f"   {len(opened) - most} clusters folded; --verbose and report.html show them in full",
                    "dim",
                )
            )
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


class _Page:
    """Writes lines of styled parts; no text is ever read as rich markup."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._ascii = console.options.ascii_only

    def shape(self, status: Status) -> str:
        return status.ascii if self._ascii else status.shape

    def line(self, *parts: tuple[str, str], wrap: bool = True) -> None:
        """Print the parts as one line; where it must go on below, it goes on indented."""
        text = Text.assemble(
            *((_to_ascii(part), style) if self._ascii else (part, style) for part, style in parts)
        )
        if not wrap or len(text) <= self.console.width:
            self.console.print(text, soft_wrap=True, highlight=False)
            return
        for number, row in enumerate(text.wrap(self.console, max(20, self.console.width - 4))):
            row.rstrip()
            indent = "    " if number else ""
            self.console.print(Text.assemble(indent, row), soft_wrap=True, highlight=False)

    def items(self, parts: list[tuple[str, str]]) -> None:
        """Print parts side by side, as many a line as fit, none of them broken."""
        row: list[tuple[str, str]] = []
        for part in parts:
            if row and sum(len(text) for text, _ in [*row, part]) > self.console.width:
                self.line(*row, wrap=False)
                row = []
            row.append(part)
        self.line(*row, wrap=False)

    def title(self, title: str) -> None:
        self.line()
        self.line((title, "bold"))

    def field(self, name: str, value: str, style: str = "") -> None:
        """Print `name  value`; a long value goes on below itself, not below the name."""
        width = max(30, self.console.width - 17)
        lines = Text(_to_ascii(value) if self._ascii else value).wrap(self.console, width) or [Text("")]
        for number, part in enumerate(lines):
            self.line(
                (f"   {name if number == 0 else '':<12}  ", "dim"), (part.plain.rstrip(), style), wrap=False
            )


def _counts(page: _Page, verdict: Verdict) -> None:
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


def _cluster(page: _Page, number: int, cluster: Cluster) -> None:
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
    page.line(("   Reproduce with: ", "dim"), (command_line(cluster.reproduce), "cyan"), wrap=False)


def _folded(page: _Page, cluster: Cluster, lead: str) -> None:
    status = standing_status(cluster.standing)
    known = f"  {one_line(cluster.known_id, 80)}: {one_line(cluster.reason, 110)}" if cluster.known_id else ""
    page.line(
        (f"{lead}{page.shape(status)} ", status.style),
        (f"{one_line(cluster.rule, 60)} {TIMES} {one_line(cluster.subject, 100)}", ""),
        (f", {count(cluster.failing, 'cell')}{known}", "dim"),
    )


def _trouble(page: _Page, verdict: Verdict, *, verbose: bool) -> None:
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


def _group(page: _Page, group: TroubleGroup, *, verbose: bool) -> None:
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


def _quiet(page: _Page, verdict: Verdict, *, verbose: bool) -> None:
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


def _to_ascii(text: str) -> str:
    for char, plain in (
        (TIMES, "x"),
        ("“", '"'),
        ("”", '"'),
        ("…", "..."),
        ("—", "-"),
        (DASH, "-"),
        ("≥", ">="),
        ("≤", "<="),
        ("·", "."),
    ):
        text = text.replace(char, plain)
    return text.encode("ascii", "backslashreplace").decode()
