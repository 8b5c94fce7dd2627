"""The figures: step counts, loss curves, and the matrix of rules and subjects."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..harness.judging.verdict import CellOutcome, CellVerdict, Verdict
from .overview import Matrix, by_severity
from .svg import GRID, INK, MUTED, PAPER, REFERENCE_COLOUR, SUBJECT_COLOUR, Drawing, drawn, status_colour
from .text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .curves import Curve
    from .exhibits import Exhibit

__all__ = ["MOST_ROWS", "loss_figure", "matrix_figure", "step_cells", "steps_figure"]

MOST_ROWS = 24
"""rows of the step-count figure; more do not fit on a screen"""


def step_cells(verdict: Verdict) -> list[CellVerdict]:
    """Return cells whose counts of optimizer steps part, two a subject and rule, the smallest first."""
    smallest = {cluster.smallest for cluster in verdict.clusters}
    found: dict[tuple[str, str], list[CellVerdict]] = {}
    for cell in by_severity(cell for cell in verdict.cells if cell.verdict is CellOutcome.DEVIATES):
        if cell.account is not None and cell.deviations:
            steps = (_steps(cell, account) for account in ("expected", "observed", "claimed"))
            if len({number for number in steps if number is not None}) > 1:
                found.setdefault((cell.subject, cell.deviations[0].rule), []).append(cell)
    kept = [sorted(cells, key=lambda cell: cell.id not in smallest)[:2] for cells in found.values()]
    return [cell for cells in kept for cell in cells][:MOST_ROWS]


def steps_figure(cells: list[CellVerdict]) -> Drawing:
    """Return one line a cell: optimizer steps as the contract expects them, as made, and as claimed.

    The axis is logarithmic, so that twice too many is the same distance at 8 as at 350.
    """

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = range(len(cells))
        for place, cell in zip(places, cells, strict=True):
            _step_line(axes, place, cell)
        axes.set_xscale("symlog", linthresh=1, base=10)
        axes.set_yticks(
            list(places), [f"{one_line(cell.subject, 40)}\n{one_line(cell.label, 60)}" for cell in cells]
        )
        axes.set_ylim(len(cells) - 0.4, -0.8)
        axes.set_xlabel("optimizer steps (logarithmic)")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        most = max(number for cell in cells for number in _all_steps(cell))
        axes.set_xlim(
            -0.5 if min(number for cell in cells for number in _all_steps(cell)) == 0 else 0.8, most * 2.5
        )
        axes.tick_params(length=0)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=True, axis="x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.plot([], [], "D", ms=8, mfc="none", mec=INK, mew=1.4, label="expected by the contract")
        axes.plot([], [], "o", ms=7, color=SUBJECT_COLOUR, label="observed")
        axes.plot([], [], "|", ms=13, color=REFERENCE_COLOUR, mew=2, label="claimed by the trainer")
        figure.legend(loc="outside upper left", ncols=3, handletextpad=0.4, columnspacing=1.4)

    title = f"Optimizer steps expected, observed and claimed, {len(cells)} deviating scenarios"
    return drawn("steps", title, 10.0, 1.1 + 0.48 * len(cells), draw)


def loss_figure(exhibit: Exhibit) -> Drawing | None:
    """Return loss and learning rate by update, subject over reference; None without a curve."""
    curve = exhibit.curve
    if curve is None:
        return None
    reference = exhibit.reference

    def draw(figure: Figure) -> None:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        if reference is not None:
            _curve(top, bottom, reference, REFERENCE_COLOUR, 3.2)
        _curve(top, bottom, curve, SUBJECT_COLOUR, 1.3)
        expected = _steps(exhibit.cell, "expected")
        if expected is not None and expected != len(curve.updates):
            for axes in (top, bottom):
                axes.axvline(expected + 0.5, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            top.annotate(
                f"contract ends at {expected:,}",
                (expected + 0.5, 1),
                xycoords=("data", "axes fraction"),
                xytext=(4, -2) if expected < 0.7 * len(curve.updates) else (-4, -2),
                textcoords="offset points",
                ha="left" if expected < 0.7 * len(curve.updates) else "right",
                va="top",
                color=MUTED,
                fontsize=8,
            )
        top.set_ylabel("loss")
        bottom.set_ylabel("lr")
        bottom.set_xlabel(f"optimizer step · loss: {curve.source}")
        bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in (top, bottom):
            axes.tick_params(length=0)
            axes.grid(visible=True, color=GRID, linewidth=0.6)
            axes.ticklabel_format(axis="y", style="sci", scilimits=(-4, 5), useOffset=False)
            axes.yaxis.set_major_locator(MaxNLocator(4))
        figure.align_ylabels()
        figure.legend(*top.get_legend_handles_labels(), loc="outside upper left", ncols=2)

    title = f"Loss and learning rate by update: {one_line(curve.subject, 60)}"
    title += f" and {one_line(reference.subject, 60)}" if reference is not None else ""
    return drawn(f"loss-{exhibit.slug}", f"{title}, {one_line(exhibit.cell.label)}", 5.2, 4.1, draw)


def matrix_figure(matrix: Matrix) -> Drawing:
    """Return rules as rows and subjects as columns: cells that break the rule of those judged by it."""
    rules, subjects = matrix.rules[:40], matrix.subjects[:16]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for row, rule in enumerate(rules):
            for column, subject in enumerate(subjects):
                entry = matrix.entries.get((rule, subject))
                if entry is None:
                    axes.text(column, row, "not judged", ha="center", va="center", color=MUTED, fontsize=7)
                    continue
                colour = status_colour(entry.status.key)
                share = entry.deviating / entry.judged
                axes.barh(
                    row,
                    0.94,
                    left=column - 0.47,
                    height=0.86,
                    color=colour,
                    alpha=0.08 + 0.3 * share,
                    linewidth=0,
                )
                text = f"{entry.status.shape} {entry.deviating:,}/{entry.judged:,}"
                weight = "bold" if entry.deviating else "normal"
                axes.text(
                    column, row, text, ha="center", va="center", color=colour, fontsize=8.5, fontweight=weight
                )
        axes.set_xlim(-0.5, len(subjects) - 0.5)
        axes.set_ylim(len(rules) - 0.5, -0.5)
        axes.set_xticks(
            range(len(subjects)), [one_line(name, 26) for name in subjects], rotation=20, ha="left"
        )
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(rules)), [one_line(name, 26) for name in rules])
        axes.tick_params(length=0, labelcolor=INK)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xlabel("cells that break the rule / cells judged by it")
        axes.set_facecolor(PAPER)

    title = "Deviations by rule and subject"
    return drawn("matrix", title, 2.2 + 1.5 * max(len(subjects), 2), 1.2 + 0.3 * max(len(rules), 2), draw)


def _step_line(axes: Axes, place: int, cell: CellVerdict) -> None:
    expected, observed, claimed = (_steps(cell, name) for name in ("expected", "observed", "claimed"))
    known = _all_steps(cell)
    axes.plot([min(known), max(known)], [place, place], color=MUTED, linewidth=1, zorder=1)
    if expected is not None:
        axes.plot(expected, place, "D", ms=8, mfc=PAPER, mec=INK, mew=1.4, zorder=2)
        _number(axes, place, expected, INK)
    if claimed is not None:
        axes.plot(claimed, place, "|", ms=15, color=REFERENCE_COLOUR, mew=2, zorder=3)
        if claimed not in {expected, observed}:
            _number(axes, place, claimed, REFERENCE_COLOUR)
    if observed is not None:
        axes.plot(observed, place, "o", ms=6, color=SUBJECT_COLOUR, zorder=4)
        if observed != expected:
            _number(axes, place, observed, SUBJECT_COLOUR)


def _number(axes: Axes, place: int, value: int, colour: str) -> None:
    axes.annotate(
        f"{value:,}",
        (value, place),
        xytext=(0, 8),
        textcoords="offset points",
        ha="center",
        color=colour,
        fontsize=8,
    )


def _curve(top: Axes, bottom: Axes, curve: Curve, colour: str, width: float) -> None:
    label = f"{one_line(curve.subject, 40)} ({len(curve.updates):,} updates)"
    marker = "o" if len(curve.updates) <= 40 else ""
    losses = [value if math.isfinite(value) else math.nan for value in curve.losses]
    top.plot(curve.updates, losses, color=colour, linewidth=width, marker=marker, ms=width + 1.5, label=label)
    bottom.plot(
        curve.updates, curve.learning_rates, color=colour, linewidth=width, marker=marker, ms=width + 1.5
    )
    lost = sum(not math.isfinite(value) for value in curve.losses)
    if lost:
        top.plot([], [], " ", label=f"{lost:,} of its losses are missing, NaN or infinite")


def _steps(cell: CellVerdict, account: str) -> int | None:
    steps: int | None = getattr(cell.account, account).optimizer_steps if cell.account else None
    return steps


def _all_steps(cell: CellVerdict) -> list[int]:
    found = (_steps(cell, account) for account in ("expected", "observed", "claimed"))
    return [number for number in found if number is not None]
