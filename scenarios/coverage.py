"""Counts which value pairs (or triples, …) of the axes a list of scenarios covers; knows no generator."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

from .axes import Axis, legal_base, require_distinct
from .scenario import Scenario, ScenarioError
from .validity import RuleGroup, rule_groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Coverage", "coverage_of", "tuple_word"]

_WORDS = {1: "values", 2: "pairs", 3: "triples"}


def tuple_word(strength: int) -> str:
    """Return what joint values of this many axes are called."""
    return _WORDS.get(strength, f"{strength}-tuples")


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """How many valid joint values of `strength` axes occur in at least one scenario.

    Attributes:
        strength: axes taken together.
        valid: joint values that some valid scenario can have.
        covered: those that occur.
        invalid: joint values that no valid scenario can have, counted by reason.
        missing: the valid ones that do not occur, as `name=value name=value`.
    """

    strength: int
    valid: int
    covered: int
    invalid: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether everything that can be covered is."""
        return self.covered == self.valid

    def __str__(self) -> str:
        return f"{tuple_word(self.strength)} covered {self.covered}/{self.valid}"


def coverage_of(
    scenarios: Iterable[Scenario],
    axes: tuple[Axis, ...],
    *,
    strength: int = 2,
    base: Mapping[str, Any] | None = None,
) -> Coverage:
    """Count coverage by enumeration.

    Args:
        scenarios: what runs.
        axes: what is promised; scenarios with values outside an axis cover nothing of it.
        strength: axes taken together.
        base: the values of fields that are not swept; it decides only which joint values are valid.

    Raises:
        ScenarioError: fewer axes than `strength`, or no valid combination.
    """
    require_distinct(axes)
    require_strength(axes, strength)
    groups = rule_groups(axes, legal_base(base or {}))
    runs = tuple(scenarios)
    valid, covered, invalid, missing = 0, 0, dict[str, int](), []
    for chosen in combinations(axes, strength):
        names = tuple(axis.name for axis in chosen)
        seen = {tuple(getattr(run, name) for name in names) for run in runs}
        for values in product(*(axis.values for axis in chosen)):
            reason = _why_impossible(dict(zip(names, values, strict=True)), groups)
            if reason is not None:
                invalid[reason] = invalid.get(reason, 0) + 1
                continue
            valid += 1
            if values in seen:
                covered += 1
            else:
                missing.append(" ".join(f"{name}={value}" for name, value in zip(names, values, strict=True)))
    return Coverage(strength=strength, valid=valid, covered=covered, invalid=invalid, missing=tuple(missing))


def require_strength(axes: tuple[Axis, ...], strength: int) -> None:
    """Raise unless `strength` axes can be taken together."""
    if strength < 1:
        raise ScenarioError(f"strength must be at least 1, not {strength}")
    if len(axes) < strength:
        raise ScenarioError(f"strength {strength} needs at least {strength} axes, not {len(axes)}")


def _why_impossible(chosen: Mapping[str, Any], groups: tuple[RuleGroup, ...]) -> str | None:
    """Return why no valid scenario has these values: no allowed joint value of some rule agrees with them."""
    for group in groups:
        if not any(_agrees(chosen, group.names, values) for values in group.valid):
            return next(why for values, why in group.invalid.items() if _agrees(chosen, group.names, values))
    return None


def _agrees(chosen: Mapping[str, Any], names: tuple[str, ...], values: tuple[Any, ...]) -> bool:
    return all(name not in chosen or chosen[name] == value for name, value in zip(names, values, strict=True))
