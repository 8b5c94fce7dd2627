"""Search for expressions that give a figure on every cell: the bank, then two or three of its entries combined.

What is longer than the bank's expressions is found from both ends: undo an operation on the figure with a short
expression, and look the rest up by its hash. The hash is linear, so sums and differences need no values at all.

Legend: N expressions of the bank, W cells; `values_NW` int64; a figure is int64 `[W]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from .bank import Bank, Hashes, coefficients, hash_of
from .expression import OPERATIONS, Binary, Expression, Operator
from .quantities import Integers, Quantities

__all__ = ["Found", "Solver"]

_MOST = 400
"""expressions of one kind that are looked at, cheapest first"""
_MOST_QUOTIENTS = 1500
_PAIRED = 1500
_MOST_A_WAY = 40_000
"""expressions that one way of combining may offer: few cells let millions pass, of which 400 are looked at"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An expression that gives the figure on all cells that were asked for; built when it is needed."""

    cost: float
    build: Callable[[], Expression]


class Solver:
    """The bank, worked out on some cells."""

    def __init__(self, bank: Bank, cells: Quantities) -> None:
        self.bank = bank
        self.values_NW = bank.values(cells)
        self.by_cost = np.argsort(bank.costs, kind="stable")
        self._short = np.arange(bank.starts[2])
        self._leaves = np.arange(bank.starts[1])

    def solve(
        self, figure: Integers, where: NDArray[np.bool_] | None = None, *, deep: bool = True
    ) -> list[Found]:
        """Return expressions that give the figure on the cells `where`, simplest first.

        What needs more than a bank expression is searched only if no bank expression does it.
        """
        task = _Task(self, figure, where)
        found = list(task.entries())
        if not found and deep:
            ways = (task.sums(), task.products(), task.tops(), task.extremes(), task.chains())
            found = [item for way in ways for item in islice(way, _MOST_A_WAY)]
        return sorted(found, key=lambda item: item.cost)[:_MOST]

    def agreement(self, figure: Integers) -> NDArray[np.bool_]:
        """Return which bank expressions agree on which cells: bool `[N, W]`."""
        agree: NDArray[np.bool_] = self.values_NW == figure
        return agree

    @property
    def short(self) -> NDArray[np.int64]:
        """Positions of the expressions of at most two leaves."""
        return self._short

    @property
    def leaves(self) -> NDArray[np.int64]:
        """Positions of the leaves."""
        return self._leaves


class _Task:
    """One figure on some cells."""

    def __init__(self, solver: Solver, figure: Integers, where: NDArray[np.bool_] | None) -> None:
        kept = np.flatnonzero(where) if where is not None else np.arange(len(figure))
        self._solver = solver
        self._bank = solver.bank
        self._costs = solver.bank.costs
        self._values = solver.values_NW if where is None else np.ascontiguousarray(solver.values_NW[:, kept])
        self._figure = figure[kept]
        self._weights = coefficients(len(kept))
        self._hashes = hash_of(self._values, self._weights)
        self._order = np.argsort(self._hashes, kind="stable")
        self._sorted = self._hashes[self._order]
        self._target = hash_of(self._figure[None, :], self._weights)[0]

    def entries(self) -> Iterator[Found]:
        """Yield the bank's own expressions."""
        for position in np.flatnonzero(self._hashes == self._target):
            yield self._entry(int(position))

    def sums(self) -> Iterator[Found]:
        """Yield x + y and x - y of any two bank expressions."""
        everything = np.arange(len(self._bank))
        for x, y in self._matches(everything, self._target - self._hashes):
            if x <= y:
                yield self._pair(Operator.ADD, x, y)
        for x, y in self._matches(everything, self._hashes - self._target):
            yield self._pair(Operator.SUBTRACT, x, y)

    def products(self) -> Iterator[Found]:
        """Yield x·y of any two bank expressions, x never 0."""
        rows, quotients = self._divided(self._figure[None, :], np.arange(len(self._bank)))
        for x, y in self._matches(rows[:, 1], hash_of(quotients, self._weights)):
            yield self._pair(Operator.MULTIPLY, x, y)

    def tops(self) -> Iterator[Found]:
        """Yield what a division or remainder of a bank expression by a leaf, or of two short ones, gives."""
        leaves, short = self._solver.leaves, self._solver.short
        everything = np.arange(len(self._bank))
        for operator in (Operator.CEIL_DIVIDE, Operator.FLOOR_DIVIDE, Operator.MODULO):
            for many, few in ((everything, leaves), (short, short)):
                for x, y in self._filtered(operator, many, few):
                    yield self._pair(operator, x, y)

    def extremes(self) -> Iterator[Found]:
        """Yield max(x, y) and min(x, y)."""
        for operator, side in ((Operator.MAXIMUM, np.less_equal), (Operator.MINIMUM, np.greater_equal)):
            bounded = np.flatnonzero(side(self._values, self._figure).all(axis=1))
            equal = self._values[bounded] == self._figure
            useful = equal.any(axis=1)
            bounded, equal = bounded[useful], equal[useful]
            cheapest = np.argsort(self._costs[bounded], kind="stable")[:_PAIRED]
            bounded, missing = bounded[cheapest], ~equal[cheapest]
            overlap = missing.astype(np.float32) @ missing.astype(np.float32).T
            for x, y in zip(*np.nonzero(overlap == 0), strict=True):
                if x < y:
                    yield self._pair(operator, int(bounded[x]), int(bounded[y]))

    def chains(self) -> Iterator[Found]:
        """Yield x ± y·z and x ± y·(z ± w): one short expression taken off, a factor divided out, the rest looked up."""
        leaves, short = self._solver.leaves, self._solver.short
        for outer, factors in ((short, leaves), (leaves, short)):
            residues = np.concatenate(
                [self._figure - self._values[outer], self._values[outer] - self._figure]
            )
            rows, quotients = self._divided(residues, factors)
            hashes = hash_of(quotients, self._weights)
            starts = np.arange(len(rows))
            direct = [(start, z, None, None) for start, z in self._matches(starts, hashes)]
            for start, z, inner, w in (*direct, *self._split(starts, hashes)):
                residue, factor = int(rows[start, 0]), int(rows[start, 1])
                minus = residue >= len(outer)
                yield self._chain(int(outer[residue % len(outer)]), factor, z, inner, w, minus=minus)

    def _split(self, starts: NDArray[np.int64], hashes: Hashes) -> Iterator[tuple[int, int, Operator, int]]:
        """Yield how quotients are the sum or difference of a bank expression and a short one."""
        for w in self._solver.short:
            own = self._hashes[w]
            for wanted, operator in ((hashes + own, Operator.SUBTRACT), (hashes - own, Operator.ADD)):
                for start, z in self._matches(starts, wanted):
                    yield start, z, operator, int(w)

    def _chain(self, x: int, y: int, z: int, inner: Operator | None, w: int | None, *, minus: bool) -> Found:
        outer = Operator.SUBTRACT if minus else Operator.ADD
        cost = (
            self._costs[x]
            + self._costs[y]
            + self._costs[z]
            + 2.0
            + (self._costs[w] + 1.0 if w is not None else 0.0)
        )
        expression = self._bank.expression

        def build() -> Expression:
            factor: Expression = expression(z)
            if inner is not None and w is not None:
                factor = Binary(operator=inner, left=factor, right=expression(w))
            product = Binary(operator=Operator.MULTIPLY, left=factor, right=expression(y))
            return Binary(operator=outer, left=expression(x), right=product)

        return Found(cost=float(cost), build=build)

    def _matches(
        self, starts: Iterable[int] | NDArray[np.int64], wanted: Hashes
    ) -> Iterator[tuple[int, int]]:
        """Yield (start, bank position) wherever a wanted hash is one of the bank's."""
        at = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        hits = np.flatnonzero(self._sorted[at] == wanted)
        starts = np.asarray(starts)
        for hit in islice(hits, 20 * _MOST):
            position = int(at[hit])
            while position < len(self._sorted) and self._sorted[position] == wanted[hit]:
                yield int(starts[hit]), int(self._order[position])
                position += 1

    def _divided(self, residues: Integers, factors: NDArray[np.int64]) -> tuple[NDArray[np.int64], Integers]:
        """Return all exact quotients of residues by factors that are never 0, with (residue, factor) of each.

        Quotients that are 0 everywhere, and factors that are 1 everywhere, say nothing.
        """
        divisors = self._values[factors]
        usable = np.flatnonzero((divisors != 0).all(axis=1) & (divisors != 1).any(axis=1))
        alive = np.flatnonzero((residues != 0).any(axis=1))
        few, many = (alive, usable) if len(alive) < len(usable) else (usable, alive)
        pairs, quotients = [], []
        for one in few:
            rest = many
            for column in range(len(self._figure)):  # cell after cell: most drop out at the first ones
                if few is alive:
                    rest = rest[residues[one, column] % divisors[rest, column] == 0]
                else:
                    rest = rest[residues[rest, column] % divisors[one, column] == 0]
                if not len(rest):
                    break
            if len(rest):
                same = np.full(len(rest), one)
                residue, divisor = (same, rest) if few is alive else (rest, same)
                pairs.append(np.stack([residue, factors[divisor]], axis=1))
                quotients.append(residues[residue] // divisors[divisor])
        if not pairs:
            return np.zeros((0, 2), dtype=np.int64), np.zeros((0, len(self._figure)), dtype=np.int64)
        found, values = np.concatenate(pairs), np.concatenate(quotients)
        cheap = np.argsort(self._costs[found[:, 1]], kind="stable")[:_MOST_QUOTIENTS]
        return found[cheap], values[cheap]

    def _filtered(
        self, operator: Operator, many: NDArray[np.int64], few: NDArray[np.int64]
    ) -> Iterator[tuple[int, int]]:
        """Yield the pairs under an operator that give the figure: cell after cell, dropping what differs."""
        apply = OPERATIONS[operator].apply
        for y in few:
            divisor = self._values[y]
            if not (divisor > 1).any() or (divisor <= 0).any():
                continue
            rest = many
            for column, value in enumerate(self._figure):
                rest = rest[apply(self._values[rest, column], divisor[column : column + 1]) == value]
                if not len(rest):
                    break
            for x in rest[:_MOST]:
                yield int(x), int(y)

    def _entry(self, position: int) -> Found:
        return Found(cost=float(self._costs[position]), build=lambda: self._bank.expression(position))

    def _pair(self, operator: Operator, x: int, y: int) -> Found:
        cost = float(self._costs[x] + self._costs[y] + OPERATIONS[operator].cost)
        expression = self._bank.expression

        def build() -> Expression:
            return Binary(operator=operator, left=expression(x), right=expression(y))

        return Found(cost=cost, build=build)
