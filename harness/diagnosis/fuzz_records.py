"""What a fuzz finds."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...scenarios import Scenario
from .shrinking import Shrunk

__all__ = ["Broken", "FuzzFinding", "FuzzResult"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """One rule that a cell breaks.

    Attributes:
        rule: its id.
        way: how, so that different faults of one rule are told apart: `more`, `less`, `no end`, or empty.
        known: id of the known deviation that covers it with this value; None for a new one.
        expected, got: as the rule says it.
    """

    rule: str
    way: str
    known: str | None
    expected: str
    got: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FuzzFinding:
    """One fault.

    Attributes:
        broken: the rule, and how it is broken in the reduced scenario.
        shrunk: the reduced scenario.
        first: the scenario in which it was found.
        also: what else the reduced scenario breaks; it is not reduced once more for that.
        seen: scenarios that showed it.
        other_way: whether a simplification breaks the same rule in another way, which is another finding.
    """

    broken: Broken
    shrunk: Shrunk
    first: Scenario
    also: tuple[Broken, ...]
    seen: int
    other_way: bool = False


@dataclass(kw_only=True)
class FuzzResult:
    """What a fuzz found.

    Attributes:
        findings: new ones first, then in the order of their rules.
        scenarios: those that were run while searching; `not_run` of them gave no books.
        cut_short: findings that the budget left no time to reduce, with the scenario that shows them.
    """

    findings: list[FuzzFinding] = field(default_factory=list)
    scenarios: int = 0
    not_run: int = 0
    seconds: float = 0.0
    cut_short: list[tuple[Broken, Scenario]] = field(default_factory=list)
