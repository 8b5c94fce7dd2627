"""A timeline as files and on the terminal: JSON, CSV, figure, and the page that begins with the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from ..harness.judging.timeline import ACCOUNTING
from .atomic import write_atomically
from .timeline_figure import timeline_figure
from .timeline_text import MARKS, answer, cell_text, changes, group_text, groups, row_name

if TYPE_CHECKING:
    from pathlib import Path

    from pandas import DataFrame
    from rich.console import Console

    from ..harness.judging.timeline import Timeline, TimelineCell

__all__ = ["page_of", "print_timeline", "timeline_frame", "write_timeline"]

_SOURCE = """\
Every number on this page is in the tables below. They come from `{command}`: every release is the wheel from PyPI, run
on CPU{shared}. All are judged by the contract `{history.contract}` ({history.contract_title}), so that history shows:
a release was not wrong by its own documentation in everything that has changed since.
"""
_QUESTIONS = {
    "transformers": """\
> *Anyone can summarize what has happened since transformers==4.46.0 in terms of gradient accumulation steps and does it
> influence users when upgrading?* ([transformers #34263](https://github.com/huggingface/transformers/issues/34263))
""",
}
"""what people have asked about a package"""
_CHANGES = """\
Scenarios in which two neighbours train differently: other windows, another number of rows, another size of the gradient
(×2: twice what the contract gives it; ~: a size that depends on the rows), or another verdict.
"""
_READING = """\
A cell shows W, the micro-batches of each optimizer step (`2×4` is four of two); the rows that entered a step over those
that should; the weight of a label token over the one that the contract gives it (least–most over all rows and steps, 1
is right); and the rules that are broken, of {rules}. Rules about what is only said (`log`, `eval`, `save`, `epoch`,
`tokens`) are in the CSV. ✓ conforms, ✗ deviates, ! could not be judged, – cannot be asked for.
"""


def write_timeline(history: Timeline, out: Path, page: Path | None = None) -> None:
    """Write `timeline.json`, `timeline.csv`, `figures/timeline.svg|png` and `timeline.md`, and the page where asked.

    Raises:
        OSError: a folder cannot be written.
    """
    from .tables import csv_text

    drawing = timeline_figure(history)
    (out / "figures").mkdir(exist_ok=True)
    write_atomically(out / "timeline.json", history.model_dump_json(indent=1) + "\n")
    write_atomically(out / "timeline.csv", csv_text(timeline_frame(history)))
    write_atomically(out / "figures" / "timeline.svg", drawing.svg)
    write_atomically(out / "figures" / "timeline.png", drawing.png)
    write_atomically(out / "timeline.md", page_of(history, "figures/timeline.svg"))
    if page is not None:
        figure = page.with_suffix(".svg")
        write_atomically(figure, drawing.svg)
        write_atomically(page, page_of(history, figure.name))


def timeline_frame(history: Timeline) -> DataFrame:
    """Return the timeline as a table: one row a release, pair and scenario."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "release": row.release,
                "pair": row.pair,
                **row.packages,
                "scenario": cell.label,
                "outcome": cell.outcome.value,
                "windows": " ".join(map(str, cell.windows)),
                "updates": len(cell.windows) if cell.rows is not None else None,
                "updates_due": cell.updates_due,
                "rows": cell.rows,
                "rows_due": cell.rows_due,
                "ratio_least": cell.ratio_least,
                "ratio_most": cell.ratio_most,
                "scales": " ".join(cell.scales),
                "rules": " ".join(cell.rules),
                "further": " ".join(cell.further),
                "reason": cell.reason,
            }
            for row in history.rows
            for cell in row.cells
        ]
    )


def print_timeline(history: Timeline, console: Console, out: Path) -> None:
    """Print the answer, and one line a release: what is right of each group of scenarios, and the weights."""
    for sentence in answer(history):
        console.print(f"• {sentence}", markup=False, highlight=False)
    columns = groups(history)
    table = Table(expand=False)
    table.add_column(history.package, no_wrap=True)
    for title, _ in columns:
        table.add_column(title)
    for row in history.rows:
        own = {cell.label: cell for cell in row.cells}
        shown = ([own[label] for label in labels if label in own] for _, labels in columns)
        table.add_row(row_name(row, history), *(group_text(cells) for cells in shown))
    console.print()
    console.print(table)
    console.print(f"\nTimeline: {out / 'timeline.md'}", markup=False, highlight=False)


def page_of(history: Timeline, figure: str) -> str:
    """Return the page: the answer, what changed when, the figure, and the whole table."""
    shared = ", ".join(f"{name} {version}" for name, version in history.packages.items())
    rules = ", ".join(f"`{rule}`" for rule in sorted(ACCOUNTING))
    lines = [f"# {history.package}: what its releases do with gradient accumulation", ""]
    lines += [_QUESTIONS[history.package]] if history.package in _QUESTIONS else []
    opening, *further = answer(history) or [""]
    lines += [opening, "", *(f"* {sentence}" for sentence in further), ""]
    lines += [
        _SOURCE.format(command=history.command, shared=f" with {shared}" if shared else "", history=history),
        f"![Releases by scenarios]({figure})\n",
        "## What changes from one release to the next\n",
        _CHANGES,
        "| from | to | scenarios | what |",
        "|---|---|---|---|",
        *(
            f"| {change.before} | {change.after} | {change.scenarios} | {change.what} |"
            for change in changes(history)
        ),
        "",
        "## How to read the tables\n",
        _READING.format(rules=rules),
    ]
    for title, labels in groups(history):
        lines += [f"## {title}", ""]
        lines += [
            "| " + " | ".join([history.package, *labels.values()]) + " |",
            "|---" * (len(labels) + 1) + "|",
        ]
        for row in history.rows:
            own = {cell.label: cell for cell in row.cells}
            shown = (_long(own.get(label)) for label in labels)
            lines.append("| " + " | ".join([row_name(row, history), *shown]) + " |")
        lines.append("")
    return "\n".join(lines)


def _long(cell: TimelineCell | None) -> str:
    return "" if cell is None else f"{MARKS[cell.outcome]} {cell_text(cell)}"
