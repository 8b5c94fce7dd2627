"""What every kind of sweep returns: its scenarios, and an account of what was left out or merged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .scenario import Scenario, ScenarioError
from .validity import violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .coverage import Coverage

__all__ = ["Exclusion", "Sweep", "assemble", "distinct"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Exclusion:
    """Combinations that were left out.

    Attributes:
        count: how many.
        unit: what is counted: combinations, pairs, points.
        reason: why, as `Scenario` says it.
    """

    count: int
    unit: str
    reason: str

    def __str__(self) -> str:
        return f"{self.count} {self.unit} excluded: {self.reason}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """Scenarios and the account of how they came about.

    Attributes:
        kind: grid, covering, boundary or random.
        scenarios: distinct scenarios, in order.
        exclusions: what was left out, and why.
        merged: how many duplicates were merged.
        coverage: the coverage that was asked for and reached; None where the kind promises none.
    """

    kind: str
    scenarios: tuple[Scenario, ...]
    exclusions: tuple[Exclusion, ...] = ()
    merged: int = 0
    coverage: Coverage | None = None

    @property
    def summary(self) -> str:
        """One line for people, e.g. `grid: 12 scenarios, 3 combinations excluded: …`."""
        parts = [f"{len(self.scenarios)} scenarios"]
        if self.coverage is not None:
            parts.append(str(self.coverage))
        if self.merged:
            parts.append(f"{self.merged} duplicates merged")
        return f"{self.kind}: " + ", ".join([*parts, *map(str, self.exclusions)])


def distinct(scenarios: Iterable[Scenario]) -> tuple[tuple[Scenario, ...], int]:
    """Return the scenarios without repetition, in order, and how many were dropped."""
    everything = tuple(scenarios)
    unique = tuple(dict.fromkeys(everything))
    return unique, len(everything) - len(unique)


def assemble(
    kind: str,
    points: Iterable[Mapping[str, Any]],
    *,
    unit: str,
    coverage: Coverage | None = None,
) -> Sweep:
    """Return the sweep that a list of field values makes: invalid ones counted, duplicates merged.

    Raises:
        ScenarioError: nothing is left.
    """
    excluded: Counter[str] = Counter()
    scenarios = []
    for point in points:
        reason = violation(point)
        if reason is None:
            scenarios.append(Scenario(**point))
        else:
            excluded[reason] += 1
    exclusions = tuple(Exclusion(count=n, unit=unit, reason=reason) for reason, n in excluded.items())
    if not scenarios:
        why = "; ".join(map(str, exclusions)) or "no axis gives a point"
        raise ScenarioError(f"the {kind} sweep is empty: {why}")
    unique, merged = distinct(scenarios)
    return Sweep(kind=kind, scenarios=unique, exclusions=exclusions, merged=merged, coverage=coverage)
