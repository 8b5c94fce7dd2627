"""Which combinations of axis values are no scenario, and why.

`Scenario` itself is the judge. What is listed here is only which fields its rules read together, so that
a covering array can be told of them and invalid combinations can be counted instead of met by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

from .scenario import Scenario, ScenarioError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .axes import Axis

__all__ = ["CROSS_FIELDS", "RuleGroup", "rule_groups", "violation"]

CROSS_FIELDS: tuple[tuple[str, ...], ...] = (("dataset", "max_steps"), ("model", "tier"))
"""Fields that a rule of `Scenario` reads together; the groups share no field (tested)."""


def violation(values: Mapping[str, Any]) -> str | None:
    """Return why these field values are no scenario (absent fields have their defaults), or None."""
    for fields in CROSS_FIELDS:
        reason = _reason(tuple((name, values[name]) for name in fields if name in values))
        if reason is not None:
            return reason
    return None


@cache
def _reason(items: tuple[tuple[str, Any], ...]) -> str | None:
    try:
        Scenario(**dict(items))
    except ScenarioError as error:
        return str(error)
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleGroup:
    """The swept axes that one rule reads, with their valid and invalid joint values.

    Attributes:
        names: the swept axes.
        valid: joint values that are allowed.
        invalid: joint values that are not, each with its reason.
    """

    names: tuple[str, ...]
    valid: tuple[tuple[Any, ...], ...]
    invalid: Mapping[tuple[Any, ...], str]


def rule_groups(axes: Iterable[Axis], base: Mapping[str, Any]) -> tuple[RuleGroup, ...]:
    """Return one group for each rule that a swept axis takes part in.

    Raises:
        ScenarioError: the fixed fields, or a rule as a whole, leave no valid value.
    """
    by_name = {axis.name: axis for axis in axes}
    groups = []
    for fields in CROSS_FIELDS:
        names = tuple(name for name in fields if name in by_name)
        fixed = tuple((name, base[name]) for name in fields if name in base and name not in by_name)
        valid, invalid = [], {}
        for values in product(*(by_name[name].values for name in names)):
            reason = violation(dict((*fixed, *zip(names, values, strict=True))))
            if reason is None:
                valid.append(values)
            else:
                invalid[values] = reason
        if not valid:
            raise ScenarioError(f"no combination of the axes is valid: {next(iter(invalid.values()))}")
        if names:
            groups.append(RuleGroup(names=names, valid=tuple(valid), invalid=invalid))
    return tuple(groups)
