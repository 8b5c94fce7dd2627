"""Interactions: the fewest conditions on a scenario that separate the cells that break a rule from the others.

Sets of cells are integers, one bit a cell: a conjunction is one `&`, a count is one `bit_count`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .conditions import Condition, separating_conditions
from .quantities import Quantities

__all__ = ["Clause", "Interaction", "interaction_of"]

_LONGEST = 4
_ENUMERATED = 60
"""conditions of which all triples are tried"""
_BEAM = 60
_MOST_CLAUSES = 4
_FEW = 3
"""failing cells below which fields agree by chance: then those that would do as well are named too"""
_MOST_RIVALS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Clause:
    """Conditions that hold together.

    Attributes:
        conditions: their texts; none means every scenario.
        failing, inside: cells that fail, of the cells that meet all conditions.
    """

    conditions: tuple[str, ...]
    failing: int
    inside: int

    @property
    def text(self) -> str:
        """`grad_accum > 1 and rows % (B·A·R) ≠ 0`."""
        return " and ".join(self.conditions) or "every scenario"

    def __str__(self) -> str:
        return f"{self.text}: {self.failing}/{self.inside} fail"


@dataclass(frozen=True, kw_only=True, slots=True)
class Interaction:
    """What the failing cells have in common and the others do not.

    Attributes:
        clauses: at least one of them holds in a failing cell.
        failing_elsewhere, elsewhere: cells that fail, of those that no clause covers.
        exact: whether all cells of every clause fail and none elsewhere does.
        rivals: conditions on other fields that separate these few cells as well.
    """

    clauses: tuple[Clause, ...]
    failing_elsewhere: int
    elsewhere: int
    exact: bool
    rivals: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = "; or ".join(map(str, self.clauses)) + f"; elsewhere {self.failing_elsewhere}/{self.elsewhere}"
        if not self.rivals:
            return told
        shown = list(self.rivals[:_MOST_RIVALS])
        shown += ["…"] if len(self.rivals) > _MOST_RIVALS else []
        return f"{told}; too few cells to tell it from {', '.join(shown)}"


def interaction_of(quantities: Quantities, failing: NDArray[np.bool_]) -> Interaction | None:
    """Find the conditions.

    Args:
        quantities: of n judged cells.
        failing: which of them break the rule, bool `[n]`; with none of them there is nothing to find.

    Returns:
        An exact conjunction of the fewest conditions, else an exact disjunction of such, else what separates best.
    """
    if not failing.any():
        return None
    search = _Search(quantities, failing)
    conjunction = search.exact_conjunction()
    if conjunction is not None:
        return search.interaction([conjunction])
    return search.interaction(search.exact_clauses() or [search.best_conjunction()])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Atom:
    condition: Condition
    cells: int


class _Search:
    def __init__(self, quantities: Quantities, failing: NDArray[np.bool_]) -> None:
        conditions, masks = separating_conditions(quantities)
        self._count = len(failing)
        self._failing = _as_bits(failing)
        self._passing = _as_bits(~failing)
        self._atoms = [
            _Atom(condition=condition, cells=_as_bits(mask))
            for condition, mask in zip(conditions, masks, strict=True)
        ]

    def exact_conjunction(self) -> tuple[_Atom, ...] | None:
        """Return the fewest conditions that all failing cells meet and no passing one does, the simplest such."""
        if not self._passing:
            return ()
        atoms = self._useful([atom for atom in self._atoms if not self._failing & ~atom.cells], self._passing)
        for size in range(1, _LONGEST + 1):
            pool = atoms if size < 3 else atoms[:_ENUMERATED] if size == 3 else atoms[: _ENUMERATED // 3]
            exact = [chosen for chosen in combinations(pool, size) if not _all_of(chosen, self._passing)]
            if exact:
                return min(exact, key=_cost)
        return None

    def exact_clauses(self) -> list[tuple[_Atom, ...]] | None:
        """Return a few conjunctions that no passing cell meets and that cover all failing ones; None if they do not."""
        uncovered = self._failing
        clauses: list[tuple[_Atom, ...]] = []
        while uncovered and len(clauses) < _MOST_CLAUSES:
            clause = self._purest(uncovered)
            if clause is None:
                return None
            clauses.append(clause)
            uncovered &= ~_all_of(clause, uncovered)
        return None if uncovered else self._without_idle(clauses)

    def best_conjunction(self) -> tuple[_Atom, ...]:
        """Return the conditions with the largest share of failing cells inside less that of passing ones."""
        failing, passing = self._failing.bit_count(), max(self._passing.bit_count(), 1)

        def gain(chosen: tuple[_Atom, ...]) -> float:
            inside = _all_of(chosen, self._failing).bit_count() / failing
            return inside - _all_of(chosen, self._passing).bit_count() / passing - 0.01 * len(chosen)

        return max(self._grown(self._failing, gain), key=gain, default=())

    def interaction(self, clauses: Sequence[tuple[_Atom, ...]]) -> Interaction:
        """Count."""
        everything = self._failing | self._passing
        covered = 0
        shown = []
        for clause in clauses:
            inside = _all_of(clause, everything)
            covered |= inside
            shown.append(
                Clause(
                    conditions=tuple(atom.condition.text for atom in clause),
                    failing=(inside & self._failing).bit_count(),
                    inside=inside.bit_count(),
                )
            )
        elsewhere = everything & ~covered
        alone = clauses[0][0].condition if len(clauses) == 1 and len(clauses[0]) == 1 else None
        few = self._failing.bit_count() < _FEW
        return Interaction(
            clauses=tuple(shown),
            failing_elsewhere=(elsewhere & self._failing).bit_count(),
            elsewhere=elsewhere.bit_count(),
            exact=not elsewhere & self._failing and not covered & self._passing,
            rivals=alone.alike if alone is not None and few else (),
        )

    def _useful(self, atoms: Sequence[_Atom], passing: int) -> list[_Atom]:
        """Drop conditions that exclude no more passing cells than a simpler one; those that exclude most come first."""
        kept: list[_Atom] = []
        for atom in atoms:  # simplest first
            left = atom.cells & passing
            if left != passing and not any((other.cells & passing) & ~left == 0 for other in kept):
                kept.append(atom)
        return sorted(kept, key=lambda atom: (atom.cells & passing).bit_count())

    def _purest(self, uncovered: int) -> tuple[_Atom, ...] | None:
        """Return the conjunction without passing cells that covers most of what is uncovered, the shortest such."""
        count, passing = uncovered.bit_count(), max(self._passing.bit_count(), 1)

        def purity(chosen: tuple[_Atom, ...]) -> float:
            inside = _all_of(chosen, uncovered).bit_count()
            return inside / (inside + 3.0 * _all_of(chosen, self._passing).bit_count() + 1e-9)

        def gain(chosen: tuple[_Atom, ...]) -> float:
            inside = _all_of(chosen, uncovered).bit_count()
            return inside / count - _all_of(chosen, self._passing).bit_count() / passing

        pure = [
            chosen
            for score in (purity, gain)
            for chosen in self._grown(uncovered, score)
            if not _all_of(chosen, self._passing) and _all_of(chosen, uncovered)
        ]
        if not pure:
            return None
        best = max(
            pure, key=lambda chosen: (_all_of(chosen, uncovered).bit_count(), -len(chosen), -_cost(chosen))
        )
        return self._minimal(best)

    def _minimal(self, clause: tuple[_Atom, ...]) -> tuple[_Atom, ...]:
        """Drop conditions that no purity is lost without."""
        for atom in sorted(clause, key=lambda item: -item.condition.cost):
            rest = tuple(other for other in clause if other is not atom)
            if not _all_of(rest, self._passing):
                clause = rest
        return clause

    def _grown(self, wanted: int, score: Callable[[tuple[_Atom, ...]], float]) -> Iterator[tuple[_Atom, ...]]:
        """Yield conjunctions by beam search, one condition more each time."""
        beam: list[tuple[_Atom, ...]] = [()]
        for _ in range(_LONGEST):
            grown: dict[tuple[int, int], tuple[_Atom, ...]] = {}
            for chosen in beam:
                inside, outside = _all_of(chosen, wanted), _all_of(chosen, self._passing)
                for atom in self._atoms:
                    key = (inside & atom.cells, outside & atom.cells)
                    if key[0] and key != (inside, outside) and key not in grown:
                        grown[key] = (*chosen, atom)
            ranked = sorted(grown.values(), key=lambda chosen: (-score(chosen), _cost(chosen)))
            yield from ranked
            beam = ranked[:_BEAM]

    def _without_idle(self, clauses: list[tuple[_Atom, ...]]) -> list[tuple[_Atom, ...]]:
        """Drop clauses that the others make idle."""
        for clause in sorted(clauses, key=lambda item: _all_of(item, self._failing).bit_count()):
            rest = [other for other in clauses if other is not clause]
            covered = 0
            for other in rest:
                covered |= _all_of(other, self._failing)
            if covered == self._failing:
                clauses = rest
        return clauses


def _all_of(chosen: Sequence[_Atom], cells: int) -> int:
    for atom in chosen:
        cells &= atom.cells
    return cells


def _cost(chosen: Sequence[_Atom]) -> float:
    return sum(atom.condition.cost for atom in chosen)


def _as_bits(mask: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(mask, bitorder="little").tobytes(), "little")
