"""Conditions on scenarios: the predicate grammar of case distinctions and of interactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .quantities import Quantities

__all__ = ["Condition", "Mask", "branch_conditions", "separating_conditions"]

Mask = NDArray[np.bool_]

_LEFT_OUT = frozenset({"seed", "tier", "model", "learning_rate"})
"""fields that no accounting may depend on, or that have one value in a tier"""
_LETTERS = {"per_device_batch_size": "B", "grad_accum": "A", "ranks": "R"}
_MOST_THRESHOLDS = 12
_REMAINDERS = (
    ("rows", "B", 1.1),
    ("M", "A", 1.1),
    ("rows", "G", 1.2),
    ("T", "U", 1.2),
    ("M_ceil", "A", 1.6),
    ("max_steps", "U", 1.6),
    ("T", "A", 1.8),
    ("A", "2", 1.9),
    ("rows", "A", 1.9),
    ("rows", "2", 2.0),
    ("T", "2", 2.0),
)
_COMPARED = (
    ("T", "U", 1.1),
    ("M", "A", 1.1),
    ("E", "1", 1.15),
    ("U", "1", 1.15),
    ("M", "1", 1.15),
    ("T", "1", 1.3),
    ("M", "0", 1.3),
    ("rows", "B", 1.3),
    ("rows", "G", 1.3),
    ("M_ceil", "A", 1.5),
    ("U_floor", "U", 1.5),
    ("E_floor", "E", 1.6),
    ("T_floor", "T", 1.6),
    ("T", "U_floor", 1.7),
    ("T", "M", 1.8),
    ("A", "B", 1.9),
    ("E", "2", 1.9),
    ("ceil(epochs)", "E", 2.0),
)
_SHOWN = {"G": "(B·A·R)", "U_floor": "max(M // A, 1)", "M_ceil": "ceil(rows / (B·R))"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """A statement about a scenario.

    Attributes:
        text: for people, e.g. `rows % (B·A) ≠ 0`.
        cost: simplicity.
        holds: works it out over quantities.
        field: the one field of scenarios that it is about; empty for a relation.
        alike: of `separating_conditions`: texts about other fields that say the same about these very scenarios.
    """

    text: str
    cost: float
    holds: Callable[[Quantities], Mask]
    field: str = ""
    alike: tuple[str, ...] = ()


def branch_conditions(quantities: Quantities) -> list[Condition]:
    """Return the conditions of case distinctions that are true for some of these scenarios and not for all.

    Of a condition and its negation only one is returned: the other branch is the negation.
    """
    everything = [*_asked(), *_words(quantities, negations=False), *_relations(), *_above_one()]
    seen: set[bytes] = set()
    kept = []
    for condition in sorted(everything, key=lambda item: item.cost):
        mask = condition.holds(quantities)
        if not mask.any() or mask.all() or mask.tobytes() in seen or (~mask).tobytes() in seen:
            continue
        seen.add(mask.tobytes())
        kept.append(condition)
    return kept


def separating_conditions(quantities: Quantities) -> tuple[list[Condition], NDArray[np.bool_]]:
    """Return the conditions for interactions, simplest first, with their truth values `[conditions, n]`.

    Conditions that say the same about these scenarios are one, and keep the simplest words; one about each other field
    is kept beside it, as `alike`.
    """
    everything = [
        *_asked(),
        *_words(quantities, negations=True),
        *_thresholds(quantities),
        *_relations(),
    ]
    everything += [_negated(item) for item in (*_asked(), *_relations())]
    has_ranks = bool((quantities.columns["R"] > 1).any())
    same: dict[bytes, list[Condition]] = {}
    masks: list[Mask] = []
    for condition in sorted(everything, key=lambda item: item.cost):
        mask = condition.holds(quantities)
        packed = np.packbits(mask).tobytes()
        if mask.any() and not mask.all():
            if packed not in same:
                masks.append(mask)
            same.setdefault(packed, []).append(condition if has_ranks else _without_ranks(condition))
    kept = [replace(group[0], alike=_of_other_fields(group)) for group in same.values()]
    return kept, np.array(masks, dtype=np.bool_).reshape(len(kept), len(quantities))


def _of_other_fields(group: list[Condition]) -> tuple[str, ...]:
    """Return the simplest text about each field that the first condition is not about."""
    texts: dict[str, str] = {}
    for condition in group:
        if condition.field and condition.field != group[0].field:
            texts.setdefault(condition.field, condition.text)
    return tuple(texts.values())


def _without_ranks(condition: Condition) -> Condition:
    """Return the condition in the words of runs on one rank."""
    return replace(condition, text=condition.text.replace("(B·A·R)", "(B·A)").replace("(B·R)", "B"))


def _asked() -> list[Condition]:
    return [
        Condition(text="max_steps > 0", cost=0.9, holds=lambda q: q.columns["max_steps"] > 0),
        Condition(text="max_steps = 0", cost=1.0, holds=lambda q: q.fields["max_steps"] == 0.0),
        Condition(text="epochs is fractional", cost=1.4, holds=lambda q: q.epochs != np.floor(q.epochs)),
    ]


def _above_one() -> list[Condition]:
    def above(name: str) -> Condition:
        return Condition(text=f"{name} > 1", cost=1.0, holds=lambda q: q.columns[name] > 1)

    return [above(name) for name in ("A", "B", "R")]


def _words(quantities: Quantities, *, negations: bool) -> Iterator[Condition]:
    for name, column in quantities.fields.items():
        if name in _LEFT_OUT or column.dtype.kind != "U":
            continue
        values = sorted({str(value) for value in column})
        if values in (["false"], ["true"], ["false", "true"]):
            yield _word(name, "true", same=True, text=name)
            if negations:
                yield _word(name, "true", same=False, text=f"not {name}")
            continue
        for value in values if len(values) > 1 else ():
            yield _word(name, value, same=True, text=f"{name} = {value}")
            if negations and len(values) > 2:
                yield _word(name, value, same=False, text=f"{name} ≠ {value}")


def _word(name: str, value: str, *, same: bool, text: str) -> Condition:
    cost = 1.0 if same else 1.05
    return Condition(text=text, cost=cost, holds=lambda q: (q.fields[name] == value) == same, field=name)


def _thresholds(quantities: Quantities) -> Iterator[Condition]:
    for name, column in quantities.fields.items():
        if name in _LEFT_OUT or column.dtype.kind == "U":
            continue
        values = np.unique(column[~np.isnan(column)])
        if len(values) < 2:
            continue
        cuts = values[:-1]
        if len(cuts) > _MOST_THRESHOLDS:
            cuts = cuts[np.linspace(0, len(cuts) - 1, _MOST_THRESHOLDS).astype(int)]
        plain = 1.0 if name in _LETTERS else 1.2
        for number, cut in enumerate(cuts):
            cost = plain + min(number, 8) * 0.02
            yield _threshold(name, cut, above=True, cost=cost)
            yield _threshold(name, cut, above=False, cost=cost + 0.01)
        if len(values) <= _MOST_THRESHOLDS:
            for value in values:
                yield _equal(name, value)


def _threshold(name: str, cut: float, *, above: bool, cost: float) -> Condition:
    if above:
        return Condition(
            text=f"{name} > {cut:g}", cost=cost, holds=lambda q: q.numbers(name) > cut, field=name
        )
    return Condition(text=f"{name} <= {cut:g}", cost=cost, holds=lambda q: q.numbers(name) <= cut, field=name)


def _equal(name: str, value: float) -> Condition:
    return Condition(
        text=f"{name} = {value:g}", cost=1.3, holds=lambda q: q.fields[name] == value, field=name
    )


def _relations() -> Iterator[Condition]:
    for left, right, cost in _REMAINDERS:
        yield _remainder(left, right, cost)
    for left, right, cost in _COMPARED:
        yield from _comparisons(left, right, cost)
    yield Condition(
        text="rows % (B·R) = 1",
        cost=2.2,
        holds=lambda q: q.columns["rows"] % np.maximum(q.columns["B"] * q.columns["R"], 1) == 1,
    )
    yield Condition(
        text="rows % (B·A·R) = 1",
        cost=2.0,
        holds=lambda q: q.columns["rows"] % q.columns["G"] == 1,
    )
    yield Condition(
        text="M = T·A", cost=1.9, holds=lambda q: q.columns["M"] == q.columns["T"] * q.columns["A"]
    )


def _remainder(left: str, right: str, cost: float) -> Condition:
    def holds(q: Quantities) -> Mask:
        divisor = q.columns[right]
        divides: Mask = (q.columns[left] % np.maximum(divisor, 1) == 0) & (divisor > 0)
        return divides

    return Condition(text=f"{_shown(left)} % {_shown(right)} = 0", cost=cost, holds=holds)


def _comparisons(left: str, right: str, cost: float) -> Iterator[Condition]:
    x, y = _shown(left), _shown(right)
    yield Condition(text=f"{x} > {y}", cost=cost, holds=lambda q: q.columns[left] > q.columns[right])
    yield Condition(text=f"{x} < {y}", cost=cost + 0.01, holds=lambda q: q.columns[left] < q.columns[right])
    yield Condition(text=f"{x} = {y}", cost=cost + 0.02, holds=lambda q: q.columns[left] == q.columns[right])


def _shown(name: str) -> str:
    return _SHOWN.get(name, name)


_NEGATED = ((" > ", " <= "), (" < ", " >= "), (" = ", " ≠ "))


def _negated(condition: Condition) -> Condition:
    text = next(
        (condition.text.replace(word, other) for word, other in _NEGATED if word in condition.text),
        condition.text.replace(" is ", " is not "),
    )
    holds = condition.holds
    return Condition(text=text, cost=condition.cost + 0.005, holds=lambda q: ~holds(q))
