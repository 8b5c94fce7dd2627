"""Writes scenarios and axes as the TOML of a suite file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .axes import Axis

__all__ = ["axes_text", "defaults_text", "scenario_text", "value_text"]


def value_text(value: Any) -> str:
    """Return a plain scenario value as TOML; None is written as "none"."""
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False)


def scenario_text(scenario: Scenario) -> str:
    """Return a scenario as an inline table of the fields that differ from the default scenario."""
    differences = scenario.differences().items()
    return "{ " + ", ".join(f"{name} = {value_text(value)}" for name, value in differences) + " }"


def defaults_text() -> str:
    """Return the default scenario as a `[defaults]` table, so that new defaults do not change a file."""
    lines = [f"{name} = {value_text(value)}" for name, value in Scenario().to_mapping().items()]
    return "\n".join(["[defaults]", *lines])


def axes_text(axes: Iterable[Axis]) -> str:
    """Return axes as an `[axes]` table."""
    lines = [f"{axis.name} = [{', '.join(map(value_text, axis.values))}]" for axis in axes]
    return "\n".join(["[axes]", *lines])
