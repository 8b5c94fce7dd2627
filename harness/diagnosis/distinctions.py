"""Case distinctions: a condition, and on either side an expression that gives the figure there.

Legend: N expressions of the bank, W cells (at most 64: one bit each), C conditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .conditions import Condition
from .expression import Cases, Expression
from .quantities import Integers, Quantities
from .search import Found, Solver

__all__ = ["MOST_CELLS", "distinctions"]

MOST_CELLS = 63
_SIDES_SEARCHED = 5
"""conditions whose harder side is searched beyond the bank"""
_NESTED = 12
_ALTERNATIVES = 6
_CHEAP_SIDE = 4.2

Bits = NDArray[np.uint64]


def distinctions(
    solver: Solver, figure: Integers, cells: Quantities, conditions: Sequence[Condition], *, deep: bool
) -> list[Found]:
    """Return case distinctions that give the figure on all cells, simplest first.

    Args:
        solver: the bank on these cells.
        figure: what to give, int64 `[W]`.
        cells: the quantities of the cells.
        conditions: what may be distinguished.
        deep: where two bank expressions do not do, search one side beyond the bank, then three cases.
    """
    if not conditions:
        return []
    task = _Task(solver, figure, cells, conditions)
    found = list(task.two_entries())
    if deep and not found:
        found = task.deep_sides() or list(task.three_entries())
    return sorted(found, key=lambda item: item.cost)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Side:
    """One side of a condition: its cells as bits, and the cheapest bank expressions that give the figure there."""

    bits: np.uint64
    covers: tuple[int, ...]
    cost: float


class _Task:
    def __init__(
        self, solver: Solver, figure: Integers, cells: Quantities, conditions: Sequence[Condition]
    ) -> None:
        self._solver = solver
        self._bank = solver.bank
        self._figure = figure
        self._conditions = conditions
        self._masks = [condition.holds(cells) for condition in conditions]
        self._powers: Bits = np.uint64(1) << np.arange(len(figure), dtype=np.uint64)
        self._all = self._pack(np.ones(len(figure), dtype=np.bool_))
        self._agree: Bits = solver.agreement(figure)[solver.by_cost].astype(np.uint64) @ self._powers
        self._sides = [(self._side(self._pack(mask)), self._side(self._pack(~mask))) for mask in self._masks]

    def two_entries(self) -> Iterator[Found]:
        """Yield conditions both sides of which the bank covers."""
        for condition, (yes, no) in zip(self._conditions, self._sides, strict=True):
            for then in yes.covers:
                for otherwise in no.covers:
                    yield self._cases(condition, self._entry(then), self._entry(otherwise))

    def deep_sides(self) -> list[Found]:
        """Search one side beyond the bank, where the other one is simple."""
        chances = []
        for number, sides in enumerate(self._sides):
            for turned, (simple, hard) in ((False, sides), (True, sides[::-1])):
                if simple.covers and not hard.covers and simple.cost <= _CHEAP_SIDE:
                    chances.append((simple.cost + self._conditions[number].cost, number, turned))
        found = []
        for _, number, turned in sorted(chances)[:_SIDES_SEARCHED]:
            simple = self._sides[number][turned]
            where = self._masks[number] if turned else ~self._masks[number]
            for harder in self._solver.solve(self._figure, where)[: 10 * _ALTERNATIVES]:
                for position in simple.covers[:2]:
                    pair = (self._entry(position), harder)
                    then, otherwise = pair[::-1] if turned else pair
                    found.append(self._cases(self._conditions[number], then, otherwise))
        return found

    def three_entries(self) -> Iterator[Found]:
        """Yield nested distinctions where the bank covers each of three cases, the first of them simply."""
        chances = [
            (sides[turned].cost + self._conditions[number].cost, number, turned)
            for number, sides in enumerate(self._sides)
            for turned in (False, True)
            if sides[turned].covers
        ]
        for _, number, turned in sorted(chances)[:_NESTED]:
            simple, hard = self._sides[number][turned], self._sides[number][not turned]
            for condition, mask in zip(self._conditions, self._masks, strict=True):
                inside = self._pack(mask)
                yes, no = self._side(hard.bits & inside), self._side(hard.bits & ~inside & self._all)
                if not (yes.covers and no.covers and yes.bits and no.bits):
                    continue
                inner = self._cases(condition, self._entry(yes.covers[0]), self._entry(no.covers[0]))
                pair = (self._entry(simple.covers[0]), inner)
                then, otherwise = pair[::-1] if turned else pair
                yield self._cases(self._conditions[number], then, otherwise)

    def _side(self, bits: np.uint64) -> _Side:
        covering = (
            np.flatnonzero((self._agree & bits) == bits)[:_ALTERNATIVES] if bits else np.zeros(0, np.int64)
        )
        positions = self._solver.by_cost[covering]
        cost = float(self._bank.costs[positions[0]]) if len(positions) else np.inf
        return _Side(bits=bits, covers=tuple(int(position) for position in positions), cost=cost)

    def _pack(self, mask: NDArray[np.bool_]) -> np.uint64:
        return np.uint64(mask.astype(np.uint64) @ self._powers)

    def _entry(self, position: int) -> Found:
        return Found(cost=float(self._bank.costs[position]), build=lambda: self._bank.expression(position))

    def _cases(self, condition: Condition, then: Found, otherwise: Found) -> Found:
        def build() -> Expression:
            return Cases(
                condition=condition.text,
                holds=condition.holds,
                condition_cost=condition.cost,
                then=then.build(),
                otherwise=otherwise.build(),
            )

        return Found(cost=then.cost + otherwise.cost + condition.cost + 2.0, build=build)
