"""A formula that somebody proposes, held against the cells: on how many does it hold, and with whose epochs?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...scenarios import Scenario, ScenarioError
from ...scenarios.formula import Formula, parse_formula
from .figures import FIGURES, Cell, Sample

__all__ = ["Held", "hypothesis_held"]

Numbers = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """One reading of a hypothesis.

    Attributes:
        formula: as it was written.
        reading: what `epochs` was taken to be; empty where the formula does not name it.
        right: cells on which it gives the figure, of `of` cells on which it has a value.
        without: cells on which it has no value: a number that it names is not there.
        right_where_deviating: the same where the figure is not the contract's, of `deviating` cells.
        counterexample: the smallest scenario on which it fails, with what it says and what was observed there.
    """

    formula: str
    reading: str
    right: int
    of: int
    without: int
    right_where_deviating: int
    deviating: int
    counterexample: tuple[Scenario, str, int] | None

    @property
    def is_true(self) -> bool:
        """Whether it holds wherever it has a value; it need not have one everywhere."""
        return 0 < self.of == self.right


def hypothesis_held(text: str, sample: Sample) -> tuple[Held, ...]:
    """Hold a formula against a figure's cells.

    `epochs` is read in up to three ways: as it was asked for, as the contract's E, and as the trainer announces it.

    Raises:
        ScenarioError: the text is no formula.
    """
    formula = parse_formula(text)
    readings: dict[str, Callable[[Cell], float | None]] = {"": lambda cell: cell.books.scenario.epochs}
    if "epochs" in formula.names:
        readings = {
            "epochs as asked for": lambda cell: cell.books.scenario.epochs,
            "epochs = E, the contract's": lambda cell: cell.books.expected.terms.E,
            "epochs = what the trainer announces": FIGURES["planned_epochs"].value,
        }
    held = [_held(formula, reading, epochs, sample) for reading, epochs in readings.items()]
    return tuple(item for item in held if item.of or item.reading in {"", "epochs as asked for"})


def _held(formula: Formula, reading: str, epochs: Callable[[Cell], float | None], sample: Sample) -> Held:
    right = of = right_deviating = deviating = 0
    wrong: list[tuple[int, int, Scenario, str, int]] = []
    for number, (cell, observed, expected) in enumerate(
        zip(sample.cells, sample.observed.tolist(), sample.expected.tolist(), strict=True)
    ):
        deviates = observed != expected
        said = _said(formula, _numbers(cell, epochs(cell), expected))
        if said is None:
            continue
        of += 1
        deviating += deviates
        if said == observed:
            right += 1
            right_deviating += deviates
        else:
            size = cell.books.expected.micro_batches
            wrong.append((size, number, cell.books.scenario, f"{said:g}", observed))
    first = min(wrong, key=lambda item: item[:2], default=None)
    return Held(
        formula=formula.text,
        reading=reading,
        right=right,
        of=of,
        without=len(sample.cells) - of,
        right_where_deviating=right_deviating,
        deviating=deviating,
        counterexample=None if first is None else first[2:],
    )


def _said(formula: Formula, numbers: Numbers) -> float | None:
    try:
        return float(formula.value(numbers))
    except ScenarioError:
        return None  # a number that this cell does not have: the formula says nothing about it


def _numbers(cell: Cell, epochs: float | None, expected: int) -> Numbers:
    scenario, terms = cell.books.scenario, cell.books.expected.terms
    letters = {name: getattr(terms, name) for name in ("B", "A", "R", "M", "U", "T", "E")}
    return {
        "rows": scenario.rows,
        "max_steps": scenario.max_steps or None,
        "epochs": epochs,
        "expected": expected,
        **letters,
    }
