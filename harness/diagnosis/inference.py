"""From cells to formulas: which expressions give a figure on every cell, and which of them differ elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...scenarios import Scenario
from ..contract import Contract
from .bank import Bank, build_bank
from .conditions import branch_conditions
from .distinctions import MOST_CELLS, distinctions
from .expression import Expression, Leaf, definitions_of
from .quantities import Integers, Quantities, quantities_of
from .search import Found, Solver

__all__ = ["Candidate", "Grammar", "Inference", "infer"]

_POINTS = 104
"""scenarios on which two expressions must agree to be one"""
_WORKING = 48
"""cells that the search looks at; the rest checks what it finds, and joins where it refutes"""
_ROUNDS = 8
_CHECKED = 400
_FORMS = 4
_PROBE_LEAVES = ("T", "U", "E", "M", "max_steps", "A", "B", "rows", "ceil(epochs)", "R", "floor(epochs)")
_DERIVED = ("G", "M_ceil", "M_floor", "U_floor", "T_floor", "E_floor", "1", "2")


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One formula, as far as the cells can say.

    Attributes:
        expression: the simplest one of its class.
        cells: cells on which it gives the figure, of `of` cells.
        signature: its values on the probes; candidates with different ones are different functions.
        equals: other ways to write the same function.
    """

    expression: Expression
    cells: int
    of: int
    signature: Integers
    equals: tuple[Expression, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether it gives the figure on all cells."""
        return self.cells == self.of

    @property
    def text(self) -> str:
        """The formula."""
        return str(self.expression)

    @property
    def definitions(self) -> tuple[str, ...]:
        """What its derived symbols stand for."""
        return definitions_of(self.expression)


@dataclass(frozen=True, kw_only=True, slots=True)
class Inference:
    """What a figure's cells say.

    Attributes:
        candidates: different functions that are exact on all cells, simplest first; if there is none, the best one.
    """

    candidates: tuple[Candidate, ...]

    @property
    def exact(self) -> bool:
        """Whether some formula gives the figure on all cells."""
        return bool(self.candidates) and self.candidates[0].exact


class Grammar:
    """The expressions of a contract's quantities, enumerated once and used for many figures.

    Args:
        contract: whose M, U, T, E the formulas name.
        probes: scenarios of the space that the cells come from; on them functions are told apart.
        counts_micro_batches: offer the micro-batches of T updates as a quantity.
    """

    def __init__(
        self, contract: Contract, probes: Sequence[Scenario], *, counts_micro_batches: bool = False
    ) -> None:
        self.contract = contract
        self._extra = ("N_T",) if counts_micro_batches else ()
        self.probes = tuple(probes)
        self.quantities = quantities_of(probes, contract)
        self.bank = self._enumerate()

    def _enumerate(self) -> Bank:
        columns = self.quantities.columns
        leaves = [name for name in _PROBE_LEAVES if _varies(columns[name])]
        for name in (*self._extra, *_DERIVED):
            twins = [leaf for leaf in leaves if np.array_equal(columns[leaf], columns[name])]
            if not twins:
                leaves.append(name)
        spread = np.linspace(0, len(self.probes) - 1, min(_POINTS, len(self.probes))).astype(np.int64)
        return build_bank(self.quantities.take(spread), leaves=tuple(leaves))


def infer(
    grammar: Grammar, scenarios: Sequence[Scenario], figure: Integers, *, expected: Integers | None = None
) -> Inference:
    """Find the formulas of a figure.

    Args:
        grammar: what formulas are made of.
        scenarios: the cells, n of them.
        figure: what was observed, int64 `[n]`.
        expected: what the contract says, to choose telling cells; any formula may turn out to be the contract's.
    """
    cells = quantities_of(scenarios, grammar.contract)
    usual = cells.columns["T"] if expected is None else expected
    working = _telling(figure, usual)
    best: list[Expression] = []
    for _ in range(_ROUNDS):
        found = _search(grammar, cells.take(working), figure[working])
        expressions = [item.build() for item in found[:_CHECKED]]
        holds = [expression.value(cells) == figure for expression in expressions]
        exact = [item for item, agrees in zip(expressions, holds, strict=True) if agrees.all()]
        if exact:
            return Inference(candidates=_classes(grammar, exact, len(scenarios)))
        best += expressions[:20]
        refuting = _refuting(holds, working)
        if not len(refuting):
            break
        working = np.concatenate([working, refuting])[-MOST_CELLS:]
    return Inference(candidates=(_best(grammar, cells, figure, best, working),))


def _search(grammar: Grammar, cells: Quantities, figure: Integers) -> list[Found]:
    solver = Solver(grammar.bank, cells)
    found = solver.solve(figure, deep=False)
    if not found:
        conditions = branch_conditions(cells)
        found = solver.solve(figure)
        found += distinctions(solver, figure, cells, conditions, deep=not found)
    return sorted(found, key=lambda item: item.cost)


def _telling(figure: Integers, usual: Integers) -> NDArray[np.int64]:
    """Choose cells to search on: half of them from where the figure is not what the contract says."""
    generator = np.random.default_rng(7)
    order = generator.permutation(len(figure))
    deviating = order[figure[order] != usual[order]]
    rest = order[figure[order] == usual[order]]
    half = max(_WORKING // 2, _WORKING - len(rest))
    chosen = deviating[:half]
    return np.concatenate([chosen, rest[: _WORKING - len(chosen)]])


def _refuting(holds: Sequence[NDArray[np.bool_]], working: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a few cells that refute what was found: for each of the first candidates the cell that refutes most."""
    if not holds:
        return np.zeros(0, dtype=np.int64)
    wrong = ~np.array(holds)
    chosen: list[int] = []
    for row in wrong[:6]:
        if not any(row[cell] for cell in chosen) and row.any():
            counts = np.where(row, wrong.sum(axis=0), 0)
            counts[working] = 0
            if counts.any():
                chosen.append(int(counts.argmax()))
    return np.array(chosen, dtype=np.int64)


def _classes(grammar: Grammar, exact: Sequence[Expression], count: int) -> tuple[Candidate, ...]:
    """Return the simplest expression of each function."""
    classes: dict[bytes, list[Expression]] = {}
    for expression in sorted(exact, key=lambda item: (item.cost, str(item))):
        members = classes.setdefault(expression.value(grammar.quantities).tobytes(), [])
        if len(members) < _FORMS:
            members.append(expression)
    return tuple(
        Candidate(
            expression=members[0],
            cells=count,
            of=count,
            signature=np.frombuffer(signature, dtype=np.int64),
            equals=tuple(members[1:]),
        )
        for signature, members in classes.items()
    )


def _best(
    grammar: Grammar,
    cells: Quantities,
    figure: Integers,
    tried: Sequence[Expression],
    working: NDArray[np.int64],
) -> Candidate:
    """Return the expression that gives the figure on most cells."""
    solver = Solver(grammar.bank, cells.take(working))
    agreeing = solver.agreement(figure[working]).sum(axis=1)
    entries = np.argsort(-agreeing + grammar.bank.costs * 1e-3, kind="stable")[:200]
    expressions = [Leaf(name="T"), *tried, *(grammar.bank.expression(entry) for entry in entries)]
    counted = [(int((item.value(cells) == figure).sum()), -item.cost, item) for item in expressions]
    count, _, expression = max(counted, key=lambda item: item[:2])
    return Candidate(
        expression=expression, cells=count, of=len(figure), signature=expression.value(grammar.quantities)
    )


def _varies(column: Integers) -> bool:
    return bool((column != column[0]).any())
