"""The bank: every expression of up to three leaves, one for each function, simplest first.

Bottom-up enumeration with observational equivalence: two expressions with the same values on all points are one.
The points are scenarios of every kind, not only those that were run, so that functions that differ anywhere on
them stay apart, although they may agree on the cells of a sweep. What they give on those is worked out afterwards.

Legend: P points, W cells, N expressions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .expression import OPERATIONS, Binary, Expression, Leaf, Operator, Scaled
from .quantities import Integers, Quantities

__all__ = ["Bank", "Hashes", "build_bank", "coefficients", "hash_of"]

Hashes = NDArray[np.uint64]

_LARGEST = 2**40
"""beyond it no figure lies, and products of three stay inside int64"""
_OPERATORS = tuple(Operator)
_LEAF, _CEIL, _FLOOR = -1, -2, -3


def coefficients(count: int) -> Hashes:
    """Return the random odd weights of the linear hash: h(v) = Σ v·c mod 2^64, so that h(v + w) = h(v) + h(w)."""
    generator = np.random.default_rng(20241015)
    return generator.integers(0, 2**63, size=count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


@dataclass(kw_only=True)
class Bank:
    """Expressions, level by level (leaves first), each level in order of cost.

    Attributes:
        leaves: texts of the leaves.
        codes: int8 `[N]`: position of the operator, or a kind of leaf.
        left, right: int32 `[N]`: operands by their position in the bank (leaf number for a leaf).
        costs: float64 `[N]`.
        starts: where each level begins; one more for the end.
    """

    leaves: tuple[str, ...]
    leaf_costs: tuple[float, ...]
    codes: NDArray[np.int8]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    costs: NDArray[np.float64]
    starts: tuple[int, ...]
    _made: dict[int, Expression] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.codes)

    def expression(self, position: int) -> Expression:
        """Return the tree of an entry."""
        position = int(position)
        if position not in self._made:
            self._made[position] = self._build(position)
        return self._made[position]

    def values(self, cells: Quantities) -> Integers:
        """Work every expression out on some cells: int64 `[N, W]`; a division by 0 gives -1."""
        values = np.empty((len(self), len(cells)), dtype=np.float64)
        for first, last in zip(self.starts, self.starts[1:], strict=False):
            for code in np.unique(self.codes[first:last]):
                rows = first + np.flatnonzero(self.codes[first:last] == code)
                values[rows] = self._level_values(int(code), rows, values, cells)
        return values.astype(np.int64)

    def _level_values(
        self, code: int, rows: NDArray[np.int64], values: NDArray[np.float64], cells: Quantities
    ) -> NDArray[np.float64]:
        left, right = self.left[rows], self.right[rows]
        if code == _LEAF:
            return np.stack([cells.columns[self.leaves[number]] for number in left]).astype(np.float64)
        x = values[left]
        if code in {_CEIL, _FLOOR}:
            scaled = [cells.scaled_epochs(row, ceiling=code == _CEIL) for row in x.astype(np.int64)]
            return np.stack(scaled).astype(np.float64)
        y = values[right]
        if not OPERATIONS[_OPERATORS[code]].divides:
            return _apply(_OPERATORS[code], x, y)
        return np.where(y > 0, _apply(_OPERATORS[code], x, np.where(y > 0, y, 1.0)), -1.0)

    def _build(self, position: int) -> Expression:
        code = int(self.codes[position])
        if code == _LEAF:
            number = int(self.left[position])
            return Leaf(name=self.leaves[number], cost=self.leaf_costs[number])
        left = self.expression(int(self.left[position]))
        if code in {_CEIL, _FLOOR}:
            return Scaled(
                factor=left, ceiling=code == _CEIL, cost=left.cost + (1.2 if code == _CEIL else 1.4)
            )
        return Binary(operator=_OPERATORS[code], left=left, right=self.expression(int(self.right[position])))


def build_bank(points: Quantities, *, leaves: tuple[str, ...], size: int = 3) -> Bank:
    """Enumerate.

    Args:
        points: the quantities of P points.
        leaves: which columns are leaves.
        size: most leaves of an expression.
    """
    maker = _Maker(points, leaves)
    for level in range(2, size + 1):
        maker.grow(level, last=level == size)
    return maker.bank()


@dataclass(kw_only=True)
class _Level:
    """The expressions with the same number of leaves; values are float64 `[N, P]`, which holds them exactly."""

    codes: NDArray[np.int8]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    costs: NDArray[np.float64]
    values_NP: NDArray[np.float64]
    hashes: Hashes
    first: int = 0


class _Maker:
    def __init__(self, points: Quantities, leaves: tuple[str, ...]) -> None:
        self._points = points
        self._weights = coefficients(len(points))
        self._leaves = tuple(sorted(leaves, key=points.cost))
        self._leaf_costs = tuple(points.cost(leaf) for leaf in self._leaves)
        values = np.stack([points.columns[leaf] for leaf in self._leaves]).astype(np.float64)
        self._known: Hashes = np.zeros(0, dtype=np.uint64)
        self._levels: list[_Level] = []
        count = len(self._leaves)
        self._add(
            _Level(
                codes=np.full(count, _LEAF, dtype=np.int8),
                left=np.arange(count, dtype=np.int32),
                right=np.zeros(count, dtype=np.int32),
                costs=np.array(self._leaf_costs),
                values_NP=values,
                hashes=self._hash(values),
            )
        )

    def grow(self, size: int, *, last: bool) -> None:
        """Add the expressions of exactly `size` leaves that are new functions; the last level needs no values."""
        parts = list(self._scaled()) if size == 2 else []
        width = 0 if last else len(self._points)
        for left_size in range(1, size):
            pair = self._levels[left_size - 1], self._levels[size - left_size - 1]
            for code, operator in enumerate(_OPERATORS):
                if not (OPERATIONS[operator].commutes and left_size > size - left_size):
                    parts.extend(self._combined(code, *pair, width))
        self._add(
            _Level(
                codes=np.concatenate([part.codes for part in parts]),
                left=np.concatenate([part.left for part in parts]),
                right=np.concatenate([part.right for part in parts]),
                costs=np.concatenate([part.costs for part in parts]),
                values_NP=np.concatenate([part.values_NP[:, :width] for part in parts]),
                hashes=np.concatenate([part.hashes for part in parts]),
            )
        )

    def _add(self, found: _Level) -> None:
        """Keep the cheapest expression of every function that is not known yet, in order of cost."""
        order = np.argsort(found.costs, kind="stable")
        _, first = np.unique(found.hashes[order], return_index=True)
        chosen = order[np.sort(first)]
        chosen = chosen[~_among(found.hashes[chosen], self._known)]
        before = self._levels[-1] if self._levels else None
        level = _Level(
            codes=found.codes[chosen],
            left=found.left[chosen],
            right=found.right[chosen],
            costs=found.costs[chosen],
            values_NP=found.values_NP[chosen],
            hashes=found.hashes[chosen],
            first=before.first + len(before.codes) if before else 0,
        )
        self._known = np.sort(np.concatenate([self._known, level.hashes]))
        self._levels.append(level)

    def bank(self) -> Bank:
        """Return everything, level by level in order of cost."""
        levels = self._levels
        return Bank(
            leaves=self._leaves,
            leaf_costs=self._leaf_costs,
            codes=np.concatenate([level.codes for level in levels]),
            left=np.concatenate([level.left for level in levels]),
            right=np.concatenate([level.right for level in levels]),
            costs=np.concatenate([level.costs for level in levels]),
            starts=(*(level.first for level in levels), levels[-1].first + len(levels[-1].codes)),
        )

    def _combined(self, code: int, x: _Level, y: _Level, width: int) -> Iterator[_Level]:
        """Yield the new functions among all pairs of two levels under one operator, one operand at a time."""
        operator = _OPERATORS[code]
        operation = OPERATIONS[operator]
        swapped = len(x.codes) < len(y.codes)
        few, many = (x, y) if swapped else (y, x)
        usable = np.arange(len(many.codes))
        if swapped and operation.divides:
            usable = usable[(many.values_NP > 0).all(axis=1)]
        values = many.values_NP[usable]
        for row, value in enumerate(few.values_NP):
            if not swapped and operation.divides and not (value > 0).all():
                continue
            start = row if x is y and operation.commutes else 0
            result = _apply(operator, *((value, values[start:]) if swapped else (values[start:], value)))
            hashes = self._hash(result)
            kept = np.flatnonzero(~_among(hashes, self._known))
            kept = kept[np.abs(result[kept]).max(axis=1, initial=0.0) < _LARGEST]
            others = usable[start:][kept]
            one, other = np.full(len(kept), row + few.first), others + many.first
            yield _Level(
                codes=np.full(len(kept), code, dtype=np.int8),
                left=(one if swapped else other).astype(np.int32),
                right=(other if swapped else one).astype(np.int32),
                costs=few.costs[row] + many.costs[others] + operation.cost,
                values_NP=result[kept, :width],
                hashes=hashes[kept],
            )

    def _scaled(self) -> Iterator[_Level]:
        """ceil and floor of epochs times a leaf."""
        leaves = self._levels[0]
        for code, ceiling, extra in ((_CEIL, True, 1.2), (_FLOOR, False, 1.4)):
            whole = leaves.values_NP.astype(np.int64)
            values = np.stack([self._points.scaled_epochs(row, ceiling=ceiling) for row in whole]).astype(
                np.float64
            )
            count = len(values)
            yield _Level(
                codes=np.full(count, code, dtype=np.int8),
                left=np.arange(count, dtype=np.int32),
                right=np.zeros(count, dtype=np.int32),
                costs=leaves.costs + extra,
                values_NP=values,
                hashes=self._hash(values),
            )

    def _hash(self, values_NP: NDArray[np.float64]) -> Hashes:
        return hash_of(values_NP.astype(np.int64), self._weights)


def hash_of(values: Integers, weights: Hashes) -> Hashes:
    """Return the linear hashes of the rows of `values`."""
    hashes: Hashes = np.ascontiguousarray(values).view(np.uint64) @ weights
    return hashes


def _apply(operator: Operator, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The operations on whole numbers held in float64: exact below 2^40, and several times as fast as on int64."""
    match operator:
        case Operator.CEIL_DIVIDE:
            result = np.ceil(x / y)
        case Operator.FLOOR_DIVIDE:
            result = np.floor(x / y)
        case Operator.MODULO:
            result = x - y * np.floor(x / y)
        case Operator.MINIMUM:
            result = np.minimum(x, y)
        case Operator.MAXIMUM:
            result = np.maximum(x, y)
        case Operator.MULTIPLY:
            result = x * y
        case Operator.SUBTRACT:
            result = x - y
        case Operator.ADD:
            result = x + y
    return result


def _among(hashes: Hashes, known: Hashes) -> NDArray[np.bool_]:
    """Return which hashes are in the sorted array of known ones."""
    if not len(known):
        return np.zeros(len(hashes), dtype=np.bool_)
    at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    found: NDArray[np.bool_] = known[at] == hashes
    return found
