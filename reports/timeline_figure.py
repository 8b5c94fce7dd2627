"""The figure of a timeline: releases by scenarios, how wrong the weights are, and whether anything else is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.patches import Rectangle

from ..harness.judging.verdict import CellOutcome
from .svg import GRID, INK, MUTED, PAPER, Drawing, drawn, status_colour
from .text import one_line
from .timeline_text import groups, row_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..harness.judging.timeline import Timeline, TimelineCell

__all__ = ["timeline_figure"]

_LEAST_SHADE, _MOST_SHADE = 0.25, 0.95
_DARKEST = 3.0
"""octaves: a weight eight times too large, or an eighth of what it should be, has the darkest shade"""


def timeline_figure(history: Timeline) -> Drawing:
    """Return the heat map: one row a release and pair, one column a scenario, the worst weight in each cell."""
    columns = [(title, label, name) for title, labels in groups(history) for label, name in labels.items()]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for y, row in enumerate(history.rows):
            own = {cell.label: cell for cell in row.cells}
            for x, (_, label, _) in enumerate(columns):
                if label in own:
                    _square(axes, x, y, own[label])
        titles = [title for title, _, _ in columns]
        for x, title in enumerate(titles):
            if x == 0 or titles[x - 1] != title:
                axes.axvline(x - 0.5, color=INK, linewidth=1)
                axes.annotate(
                    one_line(title, 60),
                    (x - 0.4, len(history.rows) - 0.3),
                    annotation_clip=False,
                    va="top",
                    color=INK,
                    fontsize=7.5,
                )
        pairs = [row.pair for row in history.rows]
        for y in range(1, len(pairs)):
            if pairs[y] != pairs[y - 1]:
                axes.axhline(y - 0.5, color=INK, linewidth=1)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(history.rows) + 0.4, -0.5)
        axes.set_xticks(
            range(len(columns)), [name for _, _, name in columns], rotation=50, ha="left", fontsize=7
        )
        axes.xaxis.tick_top()
        axes.set_yticks(
            range(len(history.rows)), [row_name(row, history) for row in history.rows], fontsize=7
        )
        axes.tick_params(length=0, labelcolor=INK)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_facecolor(PAPER)

    title = (
        f"{history.package}: weight of a label token over the one that {history.contract} gives it, at worst"
    )
    width, height = 3.0 + 0.52 * max(len(columns), 4), 2.2 + 0.24 * max(len(history.rows), 4)
    return drawn("timeline", title, width, height, draw)


def _square(axes: Axes, x: int, y: int, cell: TimelineCell) -> None:
    colour, shade = _colour(cell)
    axes.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, facecolor=colour, alpha=shade, linewidth=0))
    axes.text(x, y, _worst(cell), ha="center", va="center", fontsize=6.5, color=INK)


def _colour(cell: TimelineCell) -> tuple[str, float]:
    if cell.outcome is CellOutcome.CONFORMS:
        return status_colour("conforms"), _LEAST_SHADE
    if cell.outcome is not CellOutcome.DEVIATES:
        return GRID if cell.outcome is CellOutcome.UNSUPPORTED else MUTED, 0.5
    ratios = [ratio for ratio in (cell.ratio_least, cell.ratio_most) if ratio]
    off = max((abs(math.log2(ratio)) for ratio in ratios if ratio > 0), default=0.0)
    return status_colour("new"), min(
        _LEAST_SHADE + off / _DARKEST * (_MOST_SHADE - _LEAST_SHADE), _MOST_SHADE
    )


def _worst(cell: TimelineCell) -> str:
    """Return the ratio that is farthest from 1, or what stands for it."""
    if cell.ratio_least is None or cell.ratio_most is None:
        return "!" if cell.outcome is CellOutcome.ERROR else "–"
    ratios = (cell.ratio_least, cell.ratio_most)
    worst = max(ratios, key=lambda ratio: abs(math.log2(ratio)) if ratio > 0 else math.inf)
    text = f"{worst:.2f}".rstrip("0").rstrip(".")
    broken = set(cell.rules) - {"weight"}
    return f"{text}*" if broken else text
