"""A figure's formula, settled: inferred, told apart by running what separates candidates, held against fresh cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ...scenarios import Scenario
from ..contract import Contract
from ..ledger import CellRecord
from .figures import Cell, Figure, Sample, cell_of, sample_of
from .inference import Candidate, Grammar, infer
from .quantities import quantities_of
from .space import Space, telling_apart

__all__ = ["FormulaOf", "HeldOut", "Rounds", "RunCells", "Settled", "settle"]

RunCells = Callable[[Sequence[Scenario]], Sequence[CellRecord]]
"""runs one cell a scenario, in the same order; a crash is a record too"""

_FIRST_BATCH = 40
"""scenarios that are run before anything is inferred from fewer cells than twice as many"""

_ATTEMPTS = 5
"""draws until enough of the held-out cells have completed"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rounds:
    """How much may be run.

    Attributes:
        probes: scenarios on which formulas are compared without running anything.
        rounds: times that candidates are told apart, or a refuted formula is inferred again.
        a_round: scenarios run in each of them.
        held_out: fresh random scenarios that the formula is held against.
        seed: of the drawing.
    """

    probes: int = 3000
    rounds: int = 8
    a_round: int = 10
    held_out: int = 200
    seed: int = 20241015


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOut:
    """The formula on scenarios that were drawn after it was fixed.

    Attributes:
        right: completed cells on which it gave the figure, of `of`.
        contract_right: the same for the contract's formula.
        not_run: cells that crashed, or do not have the figure.
        misses: the first scenarios on which it failed.
    """

    right: int
    of: int
    contract_right: int
    not_run: int
    misses: tuple[Scenario, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """What is known of a figure in the end.

    Attributes:
        candidate: the simplest formula that is left.
        rivals: others that agree on every cell and could not be told apart.
        told_apart: scenarios that were run to tell candidates apart, in order.
        sample: all cells that the formula rests on, those of the sweep and those that were run here.
        held_out: how it fared afterwards; None where nothing can be run.
    """

    candidate: Candidate
    rivals: tuple[Candidate, ...]
    told_apart: tuple[Scenario, ...]
    sample: Sample
    held_out: HeldOut | None


class FormulaOf:
    """Settles figures of one subject; the grammar is built once.

    Args:
        contract: whose quantities the formulas name.
        space: where scenarios are drawn.
        run: runs cells; None if nothing can be run.
        rounds: how much may be run.

    Attributes:
        cells: what formulas are inferred from.
        fresh: cells that formulas were held against.
        failed: records without books.
    """

    def __init__(
        self, contract: Contract, space: Space, run: RunCells | None, rounds: Rounds | None = None
    ) -> None:
        self._contract = contract
        self._space = space
        self._run = run
        self._rounds = rounds or Rounds()
        self._probes = space.draw(self._rounds.probes, seed=self._rounds.seed)
        self._grammars: dict[bool, Grammar] = {}
        self.cells: list[Cell] = []
        self.fresh: list[Cell] = []
        self.failed: list[CellRecord] = []
        self._asked: dict[Scenario, None] = {}

    def add(self, cells: Sequence[Cell]) -> None:
        """Add cells of a sweep."""
        self.cells += cells
        self._asked |= dict.fromkeys(cell.books.scenario for cell in cells)

    @property
    def everything(self) -> tuple[Cell, ...]:
        """All cells: given, run to infer from, and held out."""
        return tuple({cell.books.scenario: cell for cell in (*self.cells, *self.fresh)}.values())

    def run(self, scenarios: Sequence[Scenario]) -> list[Cell]:
        """Run scenarios that were not run before and keep their cells."""
        fresh = [scenario for scenario in dict.fromkeys(scenarios) if scenario not in self._asked]
        self._asked |= dict.fromkeys(fresh)
        if self._run is None or not fresh:
            return []
        found = []
        for record in self._run(fresh):
            cell = cell_of(record, self._contract)
            if cell is None:
                self.failed.append(record)
            else:
                found.append(cell)
        self.cells += found
        return found

    def settle(self, figure: Figure) -> Settled | None:
        """Return the formula of a figure; None where no cell has it."""
        told: list[Scenario] = []
        self._widen(figure)
        candidates = self._inferred(figure)
        if not candidates:
            return None
        held_out: HeldOut | None = None
        for number in range(self._rounds.rounds):
            if len(candidates) > 1:
                chosen = tuple(
                    telling_apart(
                        candidates, self._probes, most=self._rounds.a_round, tried=tuple(self._asked)
                    )
                )
                if self._run is not None and chosen:
                    told += chosen
                    self.run(chosen)
                    candidates = self._inferred(figure)
                    continue
            if self._run is None:
                break
            held_out = self._held_out(figure, candidates[0], seed=self._rounds.seed + 100 + number)
            if held_out.right == held_out.of or not candidates[0].exact or number == self._rounds.rounds - 1:
                break
            candidates = self._inferred(figure)  # the misses are cells now
        sample = sample_of(figure, self.cells)
        if self._run is not None and held_out is None:
            held_out = self._held_out(figure, candidates[0], seed=self._rounds.seed + 99)
        return Settled(
            candidate=candidates[0],
            rivals=candidates[1:],
            told_apart=tuple(told),
            sample=sample,
            held_out=held_out,
        )

    def _widen(self, figure: Figure) -> None:
        """Run random scenarios where a figure has few cells, and learn where the subject crashes."""
        have = len(sample_of(figure, self.cells).cells)
        if self._run is None or have >= 2 * _FIRST_BATCH or (self.cells and not have):
            return
        self.run(self._space.draw(_FIRST_BATCH, seed=self._rounds.seed + 1, without=tuple(self._asked)))
        completed = {cell.books.scenario.drop_last for cell in self.cells}
        crashed = {record.scenario.drop_last for record in self.failed} - completed
        if crashed:
            self._space = replace(self._space, drop_last=tuple(completed))
            self._probes = self._space.draw(self._rounds.probes, seed=self._rounds.seed)
            self._grammars.clear()

    def _inferred(self, figure: Figure) -> tuple[Candidate, ...]:
        sample = sample_of(figure, self.cells)
        if not sample.cells:
            return ()
        scenarios = [cell.books.scenario for cell in sample.cells]
        grammar = self._grammar(counts_micro_batches=figure.name == "micro_batches")
        return infer(grammar, scenarios, sample.observed, expected=sample.expected).candidates

    def _held_out(self, figure: Figure, candidate: Candidate, *, seed: int) -> HeldOut:
        """Draw, run, compare; the cells that it gets wrong join the others."""
        wanted = self._rounds.held_out
        total = HeldOut(right=0, of=0, contract_right=0, not_run=0)
        for attempt in range(_ATTEMPTS):
            lacking = wanted - total.of
            if lacking <= 0:
                break
            drawn = self._space.draw(
                lacking + lacking // 10, seed=seed + 1000 * attempt, without=tuple(self._asked)
            )
            before = len(self.cells)
            cells = self.run(drawn)
            del self.cells[before:]
            self.fresh += cells
            sample = sample_of(figure, cells)
            got = candidate.expression.value(
                quantities_of([cell.books.scenario for cell in sample.cells], self._contract)
            )
            right = got == sample.observed
            wrong = [cell for cell, is_right in zip(sample.cells, right, strict=True) if not is_right]
            self.cells += wrong
            total = replace(
                total,
                right=total.right + int(right.sum()),
                of=total.of + len(right),
                contract_right=total.contract_right + int((sample.expected == sample.observed).sum()),
                not_run=total.not_run + len(drawn) - len(right),
                misses=(*total.misses, *(cell.books.scenario for cell in wrong))[:5],
            )
        return total

    def _grammar(self, *, counts_micro_batches: bool) -> Grammar:
        if counts_micro_batches not in self._grammars:
            self._grammars[counts_micro_batches] = Grammar(
                self._contract, self._probes, counts_micro_batches=counts_micro_batches
            )
        return self._grammars[counts_micro_batches]


def settle(
    figure: Figure,
    cells: Sequence[Cell],
    *,
    contract: Contract,
    space: Space,
    run: RunCells | None,
    rounds: Rounds | None = None,
) -> Settled | None:
    """Settle one figure; see `FormulaOf`."""
    formula = FormulaOf(contract, space, run, rounds)
    formula.add(cells)
    return formula.settle(figure)
