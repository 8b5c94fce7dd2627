"""The history of rules and cells on a terminal: a line over the runs, and since when it deviates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .text import count, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from ..harness.running.history import CellHistory, HistoryPoint, RuleHistory, SubjectHistory

__all__ = ["print_cells", "print_rules", "since_text", "sparkline"]

_BARS = "▂▃▄▅▆▇█"
_NONE = "▁"


def sparkline(points: Sequence[HistoryPoint]) -> str:
    """Return one character a run, the oldest first: the share of cells that deviate; the lowest bar means none."""
    return "".join(
        _BARS[min(len(_BARS) - 1, point.deviating * len(_BARS) // point.checked)]
        if point.deviating
        else _NONE
        for point in points
    )


def since_text(item: SubjectHistory) -> str:
    """Return since when something deviates: day, commit, and what of the environment changed with it."""
    since, before = item.since, item.before
    if since is None:
        return "conforms"
    if before is None:
        return f"as long as there is history, {_run(since)}"
    changed = [
        f"{name} {before.packages.get(name, 'none')} -> {since.packages.get(name, 'none')}"
        for name in dict.fromkeys([*before.packages, *since.packages])
        if before.packages.get(name) != since.packages.get(name)
    ]
    if since.commit != before.commit:
        changed.insert(0, f"commit {_commit(before)} -> {_commit(since)}")
    elif not changed:
        changed = ["the working tree" if since.dirty or before.dirty else "neither commit nor versions"]
    return f"since {_run(since)}; changed: {', '.join(changed)}"


def print_rules(items: Sequence[RuleHistory], *, console: Console) -> None:
    """Print the table of rules × subjects, those that deviate now first."""
    if not items:
        console.print("no run of this project is in the history")
        return
    width = max(len(one_line(f"{item.rule} × {item.subject}", 70)) for item in items)
    runs = max(len(item.points) for item in items)
    for item in sorted(items, key=lambda item: item.since is None):
        last = item.points[-1]
        name = one_line(f"{item.rule} × {item.subject}", 70)
        share = f"{last.deviating}/{last.checked}"
        console.print(f"{name:<{width}}  {sparkline(item.points):>{runs}}  {share:>9}  {since_text(item)}")


def print_cells(cells: Iterable[CellHistory], *, console: Console) -> None:
    """Print the cells that deviate, each with its line and its beginning."""
    shown = list(cells)
    console.print(f"{count(len(shown), 'cell')} deviated when they ran last")
    for cell in shown:
        console.print(
            f"{one_line(cell.subject, 80)}  {one_line(cell.label, 300)}  breaks {', '.join(map(one_line, cell.rules))}"
        )
        console.print(f"  {sparkline(cell.points)}  {since_text(cell)}")


def _run(point: HistoryPoint) -> str:
    return f"{one_line(point.started[:16])} ({_commit(point)})"


def _commit(point: HistoryPoint) -> str:
    if point.commit is None:
        return "no commit"
    return one_line(point.commit[:12]) + (" with changes" if point.dirty else "")
