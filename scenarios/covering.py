"""Covering arrays: few scenarios in which every pair (or triple, …) of axis values occurs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from covertable import make  # type: ignore[import-untyped]

from .axes import Axis, legal_base, require_distinct
from .coverage import coverage_of, require_strength, tuple_word
from .scenario import Scenario, ScenarioError
from .sweep import Exclusion, Sweep, distinct
from .validity import CROSS_FIELDS, rule_groups, violation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["covering"]


def covering(
    axes: tuple[Axis, ...], *, strength: int = 2, base: Mapping[str, Any] | None = None, seed: int = 0
) -> Sweep:
    """Return scenarios that cover every valid joint value of `strength` axes, as counted by `coverage_of`.

    Args:
        axes: what varies.
        strength: axes taken together.
        base: values of the fields that do not vary.
        seed: salt of the generator's order.

    Raises:
        ScenarioError: too few axes, no valid combination, or a generator that left something uncovered.
    """
    require_distinct(axes)
    require_strength(axes, strength)
    fixed = legal_base(base or {})
    rule_groups(axes, fixed)  # raises where nothing is valid, which the generator would not say
    by_name = {axis.name: axis for axis in axes}
    indices = {axis.name: list(range(len(axis.values))) for axis in axes}  # None is no value to covertable
    rows = make(
        indices,
        strength=strength,
        salt=str(seed),
        constraints=[
            {"operator": "fn", "requires": list(names), "evaluate": _allows(names, by_name, fixed)}
            for fields in CROSS_FIELDS
            if (names := tuple(name for name in fields if name in by_name))
        ],
    )
    unique, merged = distinct(Scenario(**fixed, **_values(row, by_name)) for row in rows)
    coverage = coverage_of(unique, axes, strength=strength, base=fixed)
    if not coverage.is_complete:
        raise ScenarioError(f"covertable left values uncovered ({coverage}), first {coverage.missing[0]}")
    exclusions = tuple(
        Exclusion(count=count, unit=tuple_word(strength), reason=reason)
        for reason, count in coverage.invalid.items()
    )
    return Sweep(kind="covering", scenarios=unique, exclusions=exclusions, merged=merged, coverage=coverage)


def _values(row: Mapping[str, int], by_name: Mapping[str, Axis]) -> dict[str, Any]:
    return {name: axis.values[row[name]] for name, axis in by_name.items()}


def _allows(
    names: tuple[str, ...], by_name: Mapping[str, Axis], fixed: Mapping[str, Any]
) -> Callable[[Mapping[str, int]], bool]:
    def allows(row: Mapping[str, int]) -> bool:
        chosen = {name: by_name[name].values[row[name]] for name in names}
        return violation({**fixed, **chosen}) is None

    return allows
