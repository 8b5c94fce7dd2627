"""The harness's own power: seeded faults caught, by which rule and how soon, and false alarms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from .verdict import CellOutcome, CellVerdict

__all__ = ["Catch", "FaultScore", "Score", "UnusualScore", "score_fault", "score_unusual"]


class Catch(StrEnum):
    """How a seeded fault was found."""

    NAMED = "by the named rule"
    OTHER = "by another rule"
    MISSED = "missed"
    NOT_RUN = "not run"


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultScore:
    """One seeded fault.

    Attributes:
        name, rule, family: from the catalogue.
        catch: whether and how it was found.
        cells: cells that were judged; `failing` of them by the named rule.
        first: 1-based place of the first cell that shows it by the named rule; None if none does.
        others: other rules that broke, with the number of cells.
        errors: cells that gave no ledger.
    """

    name: str
    rule: str
    family: str
    catch: Catch
    cells: int
    failing: int
    first: int | None
    others: dict[str, int]
    errors: int


@dataclass(frozen=True, kw_only=True, slots=True)
class UnusualScore:
    """One correct but unusual trainer; `alarms` is empty where there was no false alarm."""

    name: str
    cells: int
    alarms: dict[str, str]
    errors: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """The whole catalogue."""

    faults: tuple[FaultScore, ...] = field(default=())
    unusual: tuple[UnusualScore, ...] = field(default=())

    def caught(self, catch: Catch) -> int:
        """Count the faults that were caught in one way."""
        return sum(fault.catch is catch for fault in self.faults)

    @property
    def false_alarms(self) -> int:
        """Unusual trainers about which something was found."""
        return sum(bool(item.alarms) for item in self.unusual)

    @property
    def unjudged(self) -> int:
        """Cells that gave no ledger."""
        return sum(fault.errors for fault in self.faults) + sum(item.errors for item in self.unusual)

    @property
    def is_perfect(self) -> bool:
        """Whether every fault was caught by its rule, and nobody was accused wrongly."""
        return self.caught(Catch.NAMED) == len(self.faults) and not self.false_alarms and not self.unjudged


def score_fault(name: str, rule: str, family: str, cells: Iterable[CellVerdict]) -> FaultScore:
    """Score one seeded fault over its cells, in the order of the suite."""
    others: dict[str, int] = {}
    judged = failing = errors = 0
    first: int | None = None
    for cell in cells:
        errors += cell.verdict is CellOutcome.ERROR
        if cell.account is None:
            continue
        judged += 1
        broken = {deviation.rule for deviation in cell.deviations}
        if rule in broken:
            failing += 1
            first = first or judged
        for other in broken - {rule}:
            others[other] = others.get(other, 0) + 1
    catch = Catch.NAMED if failing else Catch.OTHER if others else Catch.MISSED if judged else Catch.NOT_RUN
    return FaultScore(
        name=name,
        rule=rule,
        family=family,
        catch=catch,
        cells=judged,
        failing=failing,
        first=first,
        others=others,
        errors=errors,
    )


def score_unusual(name: str, cells: Iterable[CellVerdict]) -> UnusualScore:
    """Score one correct trainer: everything found about it is a false alarm."""
    alarms: dict[str, str] = {}
    judged = errors = 0
    for cell in cells:
        errors += cell.verdict is CellOutcome.ERROR
        judged += cell.account is not None
        for deviation in cell.deviations:
            alarms.setdefault(deviation.rule, cell.reproduce)
    return UnusualScore(name=name, cells=judged, alarms=alarms, errors=errors)
