"""The full grid: every combination of the axis values."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any

from .axes import Axis, legal_base, require_distinct
from .scenario import Scenario, ScenarioError
from .sweep import Sweep, assemble

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LARGEST_GRID", "cross", "grid"]

LARGEST_GRID = 100_000
"""as many cells as one record store is built to hold"""


def grid(axes: tuple[Axis, ...], *, base: Mapping[str, Any] | None = None) -> Sweep:
    """Return every valid combination; the invalid ones are counted by reason.

    Raises:
        ScenarioError: an axis twice, more than `LARGEST_GRID` combinations, or none that is valid.
    """
    require_distinct(axes)
    fixed = legal_base(base or {})
    _require_size(math.prod(len(axis.values) for axis in axes))
    names = [axis.name for axis in axes]
    points = (
        fixed | dict(zip(names, values, strict=True)) for values in product(*(axis.values for axis in axes))
    )
    return assemble("grid", points, unit="combinations")


def cross(scenarios: tuple[Scenario, ...], axes: tuple[Axis, ...]) -> Sweep:
    """Return every scenario with every combination of the axis values in place of its own.

    Raises:
        ScenarioError: as for `grid`.
    """
    require_distinct(axes)
    _require_size(len(scenarios) * math.prod(len(axis.values) for axis in axes))
    names = [axis.name for axis in axes]
    points = (
        {name: getattr(scenario, name) for name in scenario.__slots__} | dict(zip(names, values, strict=True))
        for scenario in scenarios
        for values in product(*(axis.values for axis in axes))
    )
    return assemble("grid", points, unit="combinations")


def _require_size(size: int) -> None:
    if size > LARGEST_GRID:
        raise ScenarioError(
            f"the grid has {size} combinations, over {LARGEST_GRID}; use fewer values or a covering array"
        )
