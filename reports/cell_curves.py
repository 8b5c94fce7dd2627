"""The curves of a cell for its page: loss, rate and gradient norm, by update, micro-batch, row or token."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from ..harness.contract.rules.numeric import MULTIPLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..harness.contract import CellBooks

__all__ = ["CellCurves", "cell_curves_of"]

MOST_POINTS = 160

Values = tuple[float | None, ...]
"""one an update; None where there is none, or it is not finite"""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellCurves:
    """One value an update that is shown, all of one length.

    Attributes:
        updates, micro_batches, rows, tokens: how far the run had come after it, in four units.
        losses, learning_rates, grad_norms: of the update.
        low, high: the losses that lie within the envelope of the float64 replay; empty without a replay.
        not_finite: losses of the whole run that are missing, NaN or infinite.
        total: updates of the run; more than are shown, where it was thinned out.
    """

    updates: tuple[int, ...]
    micro_batches: tuple[int, ...]
    rows: tuple[int, ...]
    tokens: tuple[int, ...]
    losses: Values
    learning_rates: Values
    grad_norms: Values
    low: Values
    high: Values
    not_finite: int
    total: int


def cell_curves_of(books: CellBooks) -> CellCurves | None:
    """Return the curves of a completed cell; None where it made no update."""
    done = books.observed.done
    if not done:
        return None
    found = books.curves
    at = sorted({round(number * (len(done) - 1) / (MOST_POINTS - 1)) for number in range(MOST_POINTS)})
    at = [number for number in at if number < len(done)]

    def chosen(values: Sequence[float | None]) -> Values:
        return tuple(_number(values[number]) if number < len(values) else None for number in at)

    def so_far(sizes: list[int]) -> tuple[int, ...]:
        sums = list(accumulate(sizes))
        return tuple(sums[number] for number in at)

    low: Values = ()
    high: Values = ()
    if books.replay is not None:
        exact, width = books.replay.exact.losses, books.replay.envelope.losses
        limits = [
            (None, None) if one is None or half is None else (one - MULTIPLE * half, one + MULTIPLE * half)
            for one, half in zip(exact, width, strict=False)
        ]
        low, high = (chosen([limit[side] for limit in limits]) for side in (0, 1))
    return CellCurves(
        updates=tuple(done[number].index for number in at),
        micro_batches=so_far([len(update.window) for update in done]),
        rows=so_far([len(update.rows) for update in done]),
        tokens=so_far([update.label_tokens for update in done]),
        losses=chosen(found.losses),
        learning_rates=chosen(found.learning_rates),
        grad_norms=chosen(found.grad_norms),
        low=low,
        high=high,
        not_finite=sum(value is None or not math.isfinite(value) for value in found.losses),
        total=len(done),
    )


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
