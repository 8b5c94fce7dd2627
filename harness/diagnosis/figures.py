"""The figures that a formula can be asked for: what was observed or claimed, and what the contract says instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ...scenarios import ScenarioError, nearest
from ..contract import CellBooks, Contract, draw_up
from ..ledger import CellRecord, Outcome
from .expression import Binary, Expression, Leaf, Operator
from .quantities import Integers, quantities_of

__all__ = ["FIGURES", "Cell", "Figure", "Sample", "cell_of", "figure_named", "sample_of"]

_EPOCHS_SAID = re.compile(r"Num Epochs = ([\d,]+)")
"""how `Trainer` and the loops that copy its banner announce the epochs that they computed"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A completed cell with its books."""

    record: CellRecord
    books: CellBooks


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One number of an account.

    Attributes:
        name: stable name, with underscores.
        title: for people.
        rule: the rule that a wrong figure breaks, if there is one.
        value: the number in a cell; None where the trainer does not say.
        contract: what the contract says in its place.
        consequences: what it is if it only follows from the observed optimizer steps (`done`).
    """

    name: str
    title: str
    rule: str | None
    value: Callable[[Cell], int | None]
    contract: Callable[[Cell], int]
    consequences: tuple[Expression, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A figure over cells, all of one length n.

    Attributes:
        cells: those that have the figure.
        observed, expected: int64 `[n]`.
        done: observed optimizer steps, int64 `[n]`.
    """

    figure: Figure
    cells: tuple[Cell, ...]
    observed: Integers
    expected: Integers
    done: Integers

    @property
    def deviating(self) -> int:
        """Cells where the figure is not the contract's."""
        return int((self.observed != self.expected).sum())

    def consequence(self, contract: Contract) -> Expression | None:
        """Return how the figure follows from the observed optimizer steps in all cells, if it does."""
        if not self.cells:
            return None
        scenarios = [cell.books.scenario for cell in self.cells]
        quantities = quantities_of(scenarios, contract).with_done(self.done)
        for expression in self.figure.consequences:
            if np.array_equal(expression.value(quantities), self.observed):
                return expression
        return None


def cell_of(record: CellRecord, contract: Contract) -> Cell | None:
    """Return the cell of a record whose run came to an end; None otherwise."""
    if record.outcome is not Outcome.COMPLETED:
        return None
    books = draw_up(record, contract)
    return Cell(record=record, books=books)


def sample_of(figure: Figure, cells: Sequence[Cell]) -> Sample:
    """Return a figure over the cells that have it; runs that the audit stopped have no figures."""
    kept = [cell for cell in cells if not cell.books.observed.stopped and figure.value(cell) is not None]
    return Sample(
        figure=figure,
        cells=tuple(kept),
        observed=np.array([figure.value(cell) for cell in kept], dtype=np.int64),
        expected=np.array([figure.contract(cell) for cell in kept], dtype=np.int64),
        done=np.array([cell.books.observed.optimizer_steps for cell in kept], dtype=np.int64),
    )


def figure_named(name: str) -> Figure:
    """Return the figure of this name.

    Raises:
        ScenarioError: no such figure; the message names the nearest.
    """
    word = name.replace("-", "_")
    if word not in FIGURES:
        raise ScenarioError(f"unknown figure {name!r}{nearest(word, FIGURES)}")
    return FIGURES[word]


def _planned(cell: Cell, *, bar: bool) -> int | None:
    """The announced total: of the progress bar, or of whatever else announces one."""
    planned = cell.books.claimed.planned_steps or {}
    return next((total for source, total in planned.items() if (source == "bar") == bar), None)


def _epochs_said(cell: Cell) -> int | None:
    said = _EPOCHS_SAID.search(cell.record.output)
    return int(said[1].replace(",", "")) if said else None


_DONE = Leaf(name="done", cost=0.8)
_ALL = (
    Figure(
        name="optimizer_steps",
        title="optimizer steps",
        rule="target",
        value=lambda cell: cell.books.observed.optimizer_steps,
        contract=lambda cell: cell.books.expected.optimizer_steps,
    ),
    Figure(
        name="global_step",
        title="claimed global_step",
        rule="claim",
        value=lambda cell: cell.books.claimed.global_step,
        contract=lambda cell: cell.books.observed.optimizer_steps,
        consequences=(_DONE,),
    ),
    Figure(
        name="planned_steps",
        title="announced total",
        rule="plan",
        value=lambda cell: _planned(cell, bar=False),
        contract=lambda cell: cell.books.expected.terms.T,
    ),
    Figure(
        name="planned_bar",
        title="total of the progress bar",
        rule="plan",
        value=lambda cell: _planned(cell, bar=True),
        contract=lambda cell: cell.books.expected.terms.T,
    ),
    Figure(
        name="planned_epochs",
        title="announced epochs",
        rule=None,
        value=_epochs_said,
        contract=lambda cell: cell.books.expected.terms.E,
    ),
    Figure(
        name="scheduler_steps",
        title="scheduler steps",
        rule="schedule",
        value=lambda cell: cell.books.observed.scheduler_steps,
        contract=lambda cell: cell.books.expected.scheduler_steps,
        consequences=(_DONE,),
    ),
    Figure(
        name="micro_batches",
        title="micro-batches",
        rule=None,
        value=lambda cell: cell.books.observed.micro_batches,
        contract=lambda cell: cell.books.expected.micro_batches,
        consequences=(Leaf(name="N_done", cost=1.2),),
    ),
    Figure(
        name="epochs_entered",
        title="epochs entered",
        rule=None,
        value=lambda cell: cell.books.observed.epochs_entered,
        contract=lambda cell: cell.books.expected.epochs_entered,
        consequences=(Binary(operator=Operator.CEIL_DIVIDE, left=_DONE, right=Leaf(name="U")),),
    ),
    Figure(
        name="skipped_steps",
        title="skipped steps",
        rule="skip",
        value=lambda cell: cell.books.observed.skipped_steps,
        contract=lambda _: 0,
    ),
)

FIGURES: Mapping[str, Figure] = MappingProxyType({figure.name: figure for figure in _ALL})
"""From cause to consequence."""
