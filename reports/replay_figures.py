"""Figures of the numeric tier: all runs in units of their envelopes, and curves over their replay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..harness.contract.rules.numeric import MULTIPLE
from .replays import ReplayedCell, in_envelopes
from .svg import GRID, INK, MUTED, REFERENCE_COLOUR, SUBJECT_COLOUR, Drawing, drawn
from .text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..harness.ledger import Replay

__all__ = ["envelopes_figure", "overlay_figure"]

_LEAST = 1e-3
"""distances below are drawn here: a run that rounds exactly as its replay has distance 0"""


def envelopes_figure(cells: list[ReplayedCell]) -> Drawing:
    """Return one row a subject: the largest distance of every run from its float64 replay, in its own envelopes."""
    subjects = list(dict.fromkeys(item.cell.subject for item in cells))

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for place, subject in enumerate(subjects):
            own = [item for item in cells if item.cell.subject == subject]
            for offset, marker, colour, values in (
                (-0.16, "o", SUBJECT_COLOUR, [item.loss for item in own]),
                (0.16, "d", REFERENCE_COLOUR, [item.grad_norm for item in own]),
            ):
                shown = [max(value, _LEAST) for value in values if math.isfinite(value)]
                axes.plot(
                    shown, [place + offset] * len(shown), marker, ms=5, color=colour, alpha=0.6, linestyle=""
                )
        axes.axvline(1, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.axvline(MULTIPLE, color=INK, linewidth=1.2)
        axes.annotate(
            f"limit: {MULTIPLE:g} envelopes",
            (MULTIPLE, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-4, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
        )
        axes.set_xscale("log")
        axes.set_xlim(
            _LEAST / 2,
            max(2 * MULTIPLE, *(2 * item.nearest for item in cells if math.isfinite(item.nearest))),
        )
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_yticks(range(len(subjects)), [one_line(name, 40) for name in subjects])
        axes.set_ylim(len(subjects) - 0.5, -0.5)
        axes.tick_params(length=0)
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(visible=True, axis="x", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(
            "largest distance from the float64 replay, in envelopes of the very run (logarithmic)"
        )
        axes.plot([], [], "o", ms=5, color=SUBJECT_COLOUR, label="loss")
        axes.plot([], [], "d", ms=5, color=REFERENCE_COLOUR, label="gradient norm")
        figure.legend(loc="outside upper left", ncols=2, handletextpad=0.4)

    title = f"Distance of {len(cells)} runs from their replays, in units of rounding noise"
    return drawn("envelopes", title, 8.0, 1.3 + 0.55 * len(subjects), draw)


def overlay_figure(item: ReplayedCell, number: int) -> Drawing:
    """Return loss over the float64 replay with reference and envelope, and differences in envelope units."""
    replay = item.replay
    updates = list(range(1, replay.updates + 1))

    def draw(figure: Figure) -> None:
        top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[2, 1.2, 1.2])
        exact = [math.nan if value is None else value for value in replay.exact.losses]
        limit = [math.nan if value is None else MULTIPLE * value for value in replay.envelope.losses]
        band = (
            [value - half for value, half in zip(exact, limit, strict=True)],
            [value + half for value, half in zip(exact, limit, strict=True)],
        )
        top.fill_between(
            updates, *band, color=MUTED, alpha=0.35, linewidth=0, label=f"{MULTIPLE:g} envelopes"
        )
        top.plot(updates, exact, color=INK, linewidth=3, alpha=0.5, label="float64 replay")
        if item.reference is not None:
            losses = _known(item.reference.subject.losses)
            top.plot(
                updates[: len(losses)],
                losses[: len(updates)],
                color=REFERENCE_COLOUR,
                linewidth=2.2,
                label="hf",
            )
        top.plot(
            updates, _known(replay.subject.losses), color=SUBJECT_COLOUR, linewidth=1.2, marker="o", ms=2.5,
            label=one_line(item.cell.subject, 40),
        )  # fmt: skip
        top.set_ylabel("loss")
        for axes, name in ((middle, "losses"), (bottom, "grad_norms")):
            if item.reference is not None:
                axes.plot(*_differences(item.reference, name), color=REFERENCE_COLOUR, linewidth=1.6)
            axes.plot(*_differences(replay, name), color=SUBJECT_COLOUR, linewidth=1.2, marker="o", ms=2.5)
            _limits(axes)
        middle.set_ylabel("Δ loss")
        bottom.set_ylabel("Δ grad norm")
        bottom.set_xlabel("optimizer step · Δ: distance from the float64 replay in envelopes of the run")
        bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
        for axes in (top, middle, bottom):
            axes.tick_params(length=0)
            axes.grid(visible=True, color=GRID, linewidth=0.6)
            axes.yaxis.set_major_locator(MaxNLocator(4))
        figure.align_ylabels()
        figure.legend(*top.get_legend_handles_labels(), loc="outside upper left", ncols=4, fontsize=8)

    title = f"Loss beside its replay, {replay.precision}: {one_line(item.cell.subject, 60)}"
    return drawn(f"loss-replay-{number:02d}", f"{title}, {one_line(item.cell.label)}", 6.4, 5.0, draw)


def _differences(replay: Replay, name: str) -> tuple[list[int], list[float]]:
    values = in_envelopes(
        getattr(replay.subject, name), getattr(replay.exact, name), getattr(replay.envelope, name)
    )
    return list(range(1, len(values) + 1)), values


def _limits(axes: Axes) -> None:
    for edge in (-1, 1):
        axes.axhline(edge, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -1.2), max(high, 1.2))


def _known(values: tuple[float | None, ...]) -> list[float]:
    return [math.nan if value is None else value for value in values]
