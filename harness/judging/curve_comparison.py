"""Curves of two runs of one scenario: equal sets of updates first, then values within the noise of both runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat, zip_longest
from typing import TypeGuard

from ..contract import draw_up
from ..contract.contracts import Contract
from ..contract.rules.numeric import MULTIPLE, RATE
from ..ledger import CellRecord, Curves
from .comparison_records import Difference

__all__ = ["CurveSet", "CurvesCompared", "compared_curves", "curve_set"]

SAME, WITHIN, OTHER = "=", "~", "≠"


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveSet:
    """The curves of one cell of the numeric tier.

    Attributes:
        rows: the rows of every update's micro-batches.
        observed: what the run did.
        envelope: the rounding noise of this run, update by update.
        learning_rate: the base rate, by which rates are compared.
    """

    rows: tuple[tuple[tuple[int, ...], ...], ...]
    observed: Curves
    envelope: Curves
    learning_rate: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvesCompared:
    """`marks`: `=`, `~`, `≠` or a reason, by curve. `differences`: where each that differs parts."""

    marks: dict[str, str]
    differences: list[Difference]


def curve_set(record: CellRecord, contract: Contract) -> CurveSet | None:
    """Return the curves of a record; None where its tier has none."""
    if record.replay is None:
        return None
    books = draw_up(record, contract)
    return CurveSet(
        rows=tuple(tuple(item.rows for item in update.window) for update in books.observed.done),
        observed=books.curves,
        envelope=record.replay.envelope,
        learning_rate=record.scenario.learning_rate,
    )


def compared_curves(left: CurveSet | None, right: CurveSet | None) -> CurvesCompared:
    """Compare loss, gradient norm and rate of every update.

    Both runs may lie MULTIPLE envelopes from the float64 replay of their windows, so 2·MULTIPLE of the wider one is
    the most that rounding can put between them. Runs that saw other rows, or the same in another order, have other
    curves by right: only their rates are compared.
    """
    marks: dict[str, str] = {}
    differences: list[Difference] = []
    if left is None or right is None:
        if left is not right:
            a, b = ("none" if side is None else "there" for side in (left, right))
            differences.append(Difference(what="curves", a=a, b=b))
            marks["curves"] = OTHER
        return CurvesCompared(marks=marks, differences=differences)
    slack = RATE * max(left.learning_rate, right.learning_rate)
    for name, field in (
        ("learning rate", "learning_rates"),
        ("loss", "losses"),
        ("gradient norm", "grad_norms"),
    ):
        if field != "learning_rates" and left.rows != right.rows:
            marks[name] = "other rows or another order: not compared"
            continue
        a, b = getattr(left.observed, field), getattr(right.observed, field)
        if len(a) != len(b):
            marks[name] = OTHER
            differences.append(Difference(what=name, a=f"{len(a)} updates", b=f"{len(b)} updates"))
            continue
        widths = _wider(getattr(left.envelope, field), getattr(right.envelope, field), len(a))
        at = _parting(a, b, widths, slack if field == "learning_rates" else 0.0)
        if at is None:
            marks[name] = SAME if a == b else WITHIN
        else:
            marks[name] = OTHER
            differences.append(
                Difference(what=f"{name} of update {at + 1}", a=_shown(a[at]), b=_shown(b[at]))
            )
    return CurvesCompared(marks=marks, differences=differences)


def _parting(
    a: Sequence[float | None], b: Sequence[float | None], widths: Sequence[float], slack: float
) -> int | None:
    """Return the first update at which two curves are further apart than noise; NaN equals nothing, None only None."""
    for at, (one, two, width) in enumerate(zip(a, b, widths, strict=True)):
        if one is None and two is None:
            continue
        if one is None or two is None or not abs(one - two) <= 2 * MULTIPLE * width + slack:
            return at
    return None


def _wider(a: Sequence[float | None], b: Sequence[float | None], count: int) -> list[float]:
    """Return the wider envelope of every update; where neither replay got so far, only equal values are equal."""
    pairs = islice(chain(zip_longest(a, b), repeat(())), count)
    return [max((width for width in pair if _is_width(width)), default=0.0) for pair in pairs]


def _is_width(width: float | None) -> TypeGuard[float]:
    return width is not None and math.isfinite(width)


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.9g}"
