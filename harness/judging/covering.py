"""Selections of scenarios that hold for exactly some of a run's cells: what a new known deviation covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...scenarios import ScenarioError
from ...scenarios.selection import parse_selection
from ...scenarios.selection_terms import quoted
from ...scenarios.vocabulary import SCENARIO_VOCABULARY

__all__ = ["covering_selections"]

_Codes = NDArray[np.int64]


def covering_selections(
    inside: Sequence[Mapping[str, Any]], outside: Sequence[Mapping[str, Any]]
) -> list[tuple[str, list[int]]]:
    """Return selections in the query grammar that together hold for all of `inside` and for none of `outside`.

    Each is as narrow as the cells allow: a field is left out only where no cell of the run tells it apart. One
    selection is tried first; where its box of values would hold something outside, cells are gathered into several.

    Args:
        inside: fields of the scenarios to cover, plain values.
        outside: fields of the other scenarios of the run.

    Returns:
        Selections, each with the positions in `inside` that it was made for.

    Raises:
        ScenarioError: a scenario is both inside and outside.
    """
    names = list(inside[0])
    values = [sorted({_key(item[name]) for item in (*inside, *outside)}) for name in names]
    wanted, others = _coded(inside, names, values), _coded(outside, names, values)
    left = list(range(len(inside)))
    found = []
    while left:
        group = left if _is_free(wanted[left], others, values) else _grown(left, wanted, others, values)
        found.append((_text(inside, group, names, values), group))
        covered = set(group)
        left = [number for number in left if number not in covered]
    for text, group in found:
        selection = parse_selection(text, SCENARIO_VOCABULARY)
        assert all(selection.matches(inside[number]) for number in group)
        assert not any(selection.matches(item) for item in outside)
    return found


def _grown(left: list[int], wanted: _Codes, others: _Codes, values: Sequence[list[Any]]) -> list[int]:
    """Return the first cell with every further one that its box can take in; the nearest are tried first."""
    seed = left[0]
    if not _is_free(wanted[[seed]], others, values):
        raise ScenarioError(
            "the same scenario is in the cluster and beside it: nothing can tell the cells apart"
        )
    near = sorted(left[1:], key=lambda number: int((wanted[number] != wanted[seed]).sum()))
    group = [seed]
    for number in near:
        if _is_free(wanted[[*group, number]], others, values):
            group.append(number)
    return sorted(group)


def _is_free(members: _Codes, others: _Codes, values: Sequence[list[Any]]) -> bool:
    """Return whether the box around the members holds none of the others."""
    held = np.ones(len(others), dtype=np.bool_)
    for column in range(members.shape[1]):
        allowed = np.zeros(len(values[column]), dtype=np.bool_)
        allowed[members[:, column]] = True
        held &= allowed[others[:, column]]
    return not held.any()


def _coded(items: Sequence[Mapping[str, Any]], names: Sequence[str], values: Sequence[list[Any]]) -> _Codes:
    codes = [{value: code for code, value in enumerate(column)} for column in values]
    rows = [[code[_key(item[name])] for name, code in zip(names, codes, strict=True)] for item in items]
    return np.array(rows, dtype=np.int64).reshape(len(items), len(names))


def _text(
    inside: Sequence[Mapping[str, Any]],
    group: Sequence[int],
    names: Sequence[str],
    values: Sequence[list[Any]],
) -> str:
    terms = []
    for name, column in zip(names, values, strict=True):
        seen = {_key(inside[number][name]): inside[number][name] for number in group}
        if len(seen) < len(column):
            terms.append(f"{name}:{','.join(_word(seen[key]) for key in sorted(seen))}")
    return " ".join(terms)


def _word(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, (int, float)) else quoted(str(value))


def _key(value: Any) -> tuple[int, float, str]:
    """Return what values of one field are sorted and told apart by: none, then numbers, then words."""
    if value is None:
        return (0, 0.0, "")
    if isinstance(value, (int, float)):
        return (1, float(value), "")
    return (2, 0.0, str(value))
