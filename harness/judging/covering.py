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
_Key = tuple[Any, ...]
_Values = Mapping[str, list[_Key]]
"""field to every value that it has in the run"""


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
    values = {name: sorted({_key(item[name]) for item in (*inside, *outside)}) for name in inside[0]}
    wanted, others = _coded(inside, values), _coded(outside, values)
    left = list(range(len(inside)))
    found = []
    while left:
        group = left if _is_free(wanted[left], others, values) else _grown(left, wanted, others, values)
        found.append((_text([inside[number] for number in group], values), group))
        covered = set(group)
        left = [number for number in left if number not in covered]
    for text, group in found:
        selection = parse_selection(text, SCENARIO_VOCABULARY)
        assert all(selection.matches(inside[number]) for number in group)
        assert not any(selection.matches(item) for item in outside)
    return found


def _grown(left: list[int], wanted: _Codes, others: _Codes, values: _Values) -> list[int]:
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


def _is_free(members: _Codes, others: _Codes, values: _Values) -> bool:
    """Return whether the box around the members holds none of the others."""
    held = np.ones(len(others), dtype=np.bool_)
    for column, known in enumerate(values.values()):
        allowed = np.zeros(len(known), dtype=np.bool_)
        allowed[members[:, column]] = True
        held &= allowed[others[:, column]]
    return not held.any()


def _coded(items: Sequence[Mapping[str, Any]], values: _Values) -> _Codes:
    codes = {name: {value: code for code, value in enumerate(column)} for name, column in values.items()}
    rows = [[code[_key(item[name])] for name, code in codes.items()] for item in items]
    return np.array(rows, dtype=np.int64).reshape(len(items), len(values))


def _text(members: Sequence[Mapping[str, Any]], values: _Values) -> str:
    terms = []
    for name, column in values.items():
        seen = {_key(item[name]): item[name] for item in members}
        if len(seen) < len(column):
            terms.append(f"{name}:{','.join(_word(seen[key]) for key in sorted(seen))}")
    return " ".join(terms)


def _word(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, (int, float)) else quoted(str(value))


def _key(value: Any) -> _Key:
    """Return what values of one field are sorted and told apart by: none, then numbers, then words."""
    if value is None:
        return ("none",)
    if isinstance(value, (int, float)):
        return ("number", value)
    return ("word", str(value))
