"""A comparison of two runs: on a terminal, as Markdown, as JSON; the environment's difference first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..harness.judging.comparison_records import CellComparison, Change, Comparison
from .markdown import code, prose
from .page import Page
from .status import STATUSES, Status
from .text import command_line, count, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

__all__ = ["comparison_json", "comparison_markdown", "print_comparison"]

_MOST = 12
_LOOKS: dict[Change, Status] = {
    Change.NEW: STATUSES["new"],
    Change.DRIFTED: STATUSES["drifted"],
    Change.ONLY_A: STATUSES["stale"],
    Change.ONLY_B: STATUSES["stale"],
    Change.NOT_JUDGED: STATUSES["error"],
    Change.FIXED: STATUSES["conforms"],
    Change.UNCHANGED: STATUSES["unsupported"],
}
_HEADLINES = {0: "NO WORSE", 1: "DIFFERENT", 3: "NOT JUDGED", 4: "NOTHING COMPARED"}


def comparison_json(comparison: Comparison) -> str:
    """Return the text of `compare.json`."""
    return comparison.model_dump_json(indent=1) + "\n"


def print_comparison(comparison: Comparison, *, console: Console, verbose: bool = False) -> None:
    """Print a comparison.

    Args:
        comparison: what to show.
        console: where.
        verbose: every cell that differs, not the first of each kind.
    """
    page = Page(console)
    page.line()
    page.line(
        (f"{_HEADLINES[comparison.exit_code]}  ", "bold"), (one_line(comparison.sentence, 2000), "bold")
    )
    page.line((f"  exit code {comparison.exit_code}", "bold"))
    for name, side in (("A", comparison.a), ("B", comparison.b)):
        about = f"{side.source}, {side.started}" + (f", subject {side.subject}" if side.subject else "")
        page.line((f"  {name}  ", "bold"), (one_line(about), ""))
    page.title("ENVIRONMENT")
    if not comparison.environment:
        page.line(("  the same in both", "dim"))
    for fact in comparison.environment:
        page.line((f"  {one_line(fact.name)}  ", ""), (f"{_or_none(fact.a)} -> {_or_none(fact.b)}", "bold"))
    for change, cells in _by_change(comparison.cells):
        if change is Change.UNCHANGED:
            continue
        look = _LOOKS[change]
        page.title(f"{change.value.upper()} ({count(len(cells), 'cell')})")
        shown = cells if verbose else cells[:_MOST]
        for cell in shown:
            page.line(
                (f"  {page.shape(look)} ", look.style),
                (_names(cell), "bold"),
                (f"  {one_line(cell.label, 300)}", ""),
            )
            for item in cell.differences:
                page.line(
                    (
                        f"      {one_line(item.what, 80)}: {one_line(item.a, 300)} -> {one_line(item.b, 300)}",
                        "",
                    )
                )
            if change is not Change.FIXED:
                page.line(
                    ("      Reproduce with: ", "dim"), (command_line(cell.reproduce), "cyan"), wrap=False
                )
        if cells[len(shown) :]:
            page.line((f"  {len(cells) - len(shown):,} more; --verbose shows them", "dim"))
    if curves := _curves(comparison.cells):
        page.title("CURVES")
        for text in curves:
            page.line((f"  {text}", ""))


def comparison_markdown(comparison: Comparison) -> str:
    """Return a comparison as GitHub markdown."""
    lines = [f"# {_HEADLINES[comparison.exit_code]}: {prose(comparison.sentence, 2000)}", ""]
    lines.append(f"Exit code **{comparison.exit_code}**")
    for name, side in (("A", comparison.a), ("B", comparison.b)):
        subject = f", subject {code(side.subject)}" if side.subject else ""
        lines.append(
            f"* **{name}** {code(side.source)}, {code(side.started)}{subject}: {code(side.command, 600)}"
        )
    lines += ["", "## Environment", ""]
    if comparison.environment:
        lines += ["| | A | B |", "|---|---|---|"]
        lines += [
            f"| {code(item.name)} | {code(_or_none(item.a))} | {code(_or_none(item.b))} |"
            for item in comparison.environment
        ]
    else:
        lines.append("The same in both.")
    for change, cells in _by_change(comparison.cells):
        if change is Change.UNCHANGED:
            continue
        lines += ["", f"## {change.value.capitalize()} ({count(len(cells), 'cell')})", ""]
        for cell in cells[:100]:
            lines.append(f"* {_LOOKS[change].shape} {code(_names(cell))} {code(cell.label, 300)}")
            lines += [
                f"  * {code(item.what)}: {code(item.a, 300)} → {code(item.b, 300)}"
                for item in cell.differences
            ]
        if cells[100:]:
            lines += ["", f"{len(cells) - 100:,} more are in `compare.json`."]
    if curves := _curves(comparison.cells):
        lines += ["", "## Curves", "", *(f"* {prose(text)}" for text in curves)]
    return "\n".join(lines) + "\n"


def _by_change(cells: Sequence[CellComparison]) -> Iterable[tuple[Change, list[CellComparison]]]:
    for change in Change:
        if found := [cell for cell in cells if cell.change is change]:
            yield change, found


def _names(cell: CellComparison) -> str:
    names = [name for name in (cell.subject_a, cell.subject_b) if name is not None]
    return " -> ".join(one_line(name, 80) for name in dict.fromkeys(names))


def _curves(cells: Sequence[CellComparison]) -> list[str]:
    """Return, a curve a line, in how many cells it is the same, within the noise, another, or not compared."""
    found: dict[str, dict[str, int]] = {}
    for cell in cells:
        for name, mark in cell.curves.items():
            marks = found.setdefault(name, {})
            marks[mark] = marks.get(mark, 0) + 1
    return [
        f"{name}: " + ", ".join(f"{mark} {count(number, 'cell')}" for mark, number in sorted(marks.items()))
        for name, marks in found.items()
    ]


def _or_none(text: str | None) -> str:
    return "none" if text is None else one_line(text)
