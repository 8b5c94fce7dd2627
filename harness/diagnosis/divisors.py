"""What a label token's weight was really divided by, read from the weight books of the updates.

Legend: n samples, one for every row of every update's window; measures are float64 `[n]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ..contract import CellBooks, Reduction
from .conditions import Condition, branch_conditions
from .quantities import Quantities, quantities_of
from .weight_samples import MEASURES, Floats, Samples, weight_samples

__all__ = ["Divisor", "DivisorCase", "divisor_of"]

_RELATIVE = 1e-6
"""loops often hold their divisor in float32 (rounding 6e-8); two divisors of less than 10^6 tokens differ by more"""
_NAMED: Mapping[str, str] = MappingProxyType(
    {
        "1 / N": "token mean over the window",
        "1 / (n·W)": "mean of the micro-batches' means",
        "1 / (n·A)": "mean of means, divided by the accumulation asked for also in a short window",
        "1 / n": "a micro-batch's mean, not divided by the window (division missing)",
        "1": "sum of token losses (no division at all)",
        "1 / (N·A)": "token mean, divided by the accumulation once more (double division)",
        "1 / (N·W)": "token mean, divided by the window once more (double division)",
        "1 / (n·A·A)": "mean of means, divided by the accumulation twice",
        "A / N": "token mean, multiplied by the accumulation",
        "W / N": "token mean, multiplied by the window",
        "1 / N_padded": "mean over all positions, padding counted",
        "1 / N_input": "mean over all tokens that are not padding",
        "1 / N_unshifted": "token mean with the labels that the shift removes counted",
        "1 / (n_unshifted·W)": "mean of means with the labels that the shift removes counted",
        "1 / (n_padded·W)": "mean of means over all positions, padding counted",
        "1 / b_window": "mean over rows",
        "1 / (n_row·b_window)": "mean over rows of each row's token mean",
        "1 / N_last": "token mean with the divisor of the window before",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DivisorCase:
    """A weight that holds under a condition.

    Attributes:
        condition: when; empty for always.
        weight: e.g. `1 / (n·A)`.
        meaning: in words, where it has a name.
        rows: samples that have it, of `of`.
    """

    condition: str
    weight: str
    meaning: str
    rows: int
    of: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Divisor:
    """What the gradient of a run was divided by.

    Attributes:
        cases: one, or two under a condition and its negation.
        exact: whether they give every weight.
        promised: what the contract says.
        rivals: other weights that agree with every sample of the first case.
        updates, rows: how much was looked at.
        foreign: updates that a row from outside their window weighed in.
    """

    cases: tuple[DivisorCase, ...]
    exact: bool
    promised: str
    rivals: tuple[str, ...]
    updates: int
    rows: int
    foreign: int


def divisor_of(books: Sequence[CellBooks]) -> Divisor | None:
    """Return what the weights of these cells were divided by; None where they have no weight books."""
    if not books:
        return None
    samples = weight_samples(books)
    if not len(samples.weights):
        return None
    texts, values = _forms(samples.measures)
    close = _close(values, samples.weights)
    everywhere = np.flatnonzero(close.all(axis=1))
    reductions = {item.contract.reduction[item.scenario.loss_protocol] for item in books}
    promised = " or ".join(_PROMISED[reduction] for reduction in Reduction if reduction in reductions)
    cases: tuple[DivisorCase, ...]
    if len(everywhere):
        cases = (_case("", texts[everywhere[0]], close[everywhere[0]]),)
    else:
        cases = _two_cases(texts, close, samples, books)
    return Divisor(
        cases=cases,
        exact=all(case.rows == case.of for case in cases),
        promised=promised,
        rivals=tuple(texts[number] for number in everywhere[1:4]),
        updates=samples.updates,
        rows=len(samples.weights),
        foreign=samples.foreign,
    )


_PROMISED: Mapping[Reduction, str] = MappingProxyType(
    {
        Reduction.TOKEN_MEAN: "1 / N",
        Reduction.TOKEN_MEAN_OF_RANKS: "1 / (N_r·R)",
        Reduction.MEAN_OF_MEANS: "1 / (n·W)",
        Reduction.MEAN_OVER_ACCUM: "1 / (n·A)",
    }
)


def _forms(measures: Mapping[str, Floats]) -> tuple[list[str], Floats]:
    """Return the weights of the grammar, simplest first: x / (y·z·w) with up to three measures below and one above."""
    names = list(MEASURES)
    rank = {name: number for number, name in enumerate(names)}
    divisors: list[tuple[str, ...]] = [()]
    for size in (1, 2):
        divisors += combinations_with_replacement(names, size)
    divisors += [("n", "A", "A"), ("N", "A", "A"), ("n", "W", "W"), ("N", "W", "W")]
    forms = [
        (above, below)
        for below in divisors
        for above in ("", "A", "W", "B", "b", "n")
        if above not in below and not (above == "n" and not below)
    ]
    forms.sort(key=lambda form: (len(form[1]) + 1.5 * bool(form[0]), sum(rank[name] for name in form[1])))
    texts, values = [], []
    ones = np.ones(len(next(iter(measures.values()))))
    for above, below in forms:
        texts.append(_text(above, below))
        product = np.prod([measures[name] for name in below], axis=0) if below else ones
        with np.errstate(divide="ignore", invalid="ignore"):
            values.append((measures[above] if above else ones) / product)
    return texts, np.array(values)


def _text(above: str, below: tuple[str, ...]) -> str:
    head = above or "1"
    if not below:
        return head
    return f"{head} / {below[0]}" if len(below) == 1 else f"{head} / ({'·'.join(below)})"


def _two_cases(
    texts: Sequence[str], close: NDArray[np.bool_], samples: Samples, books: Sequence[CellBooks]
) -> tuple[DivisorCase, ...]:
    """Return a weight under a condition and another one elsewhere, if two do; else the one that most samples have."""
    quantities = quantities_of([item.scenario for item in books], books[0].contract)
    conditions: list[tuple[str, float, NDArray[np.bool_]]] = [("W < A", 0.8, samples.short)]
    conditions += [
        (condition.text, condition.cost, _spread(condition, quantities, samples))
        for condition in branch_conditions(quantities)
    ]
    best: tuple[float, tuple[DivisorCase, ...]] | None = None
    for text, cost, mask in conditions:
        if not mask.any() or mask.all():
            continue
        inside = np.flatnonzero(close[:, mask].all(axis=1))
        outside = np.flatnonzero(close[:, ~mask].all(axis=1))
        if len(inside) and len(outside):
            total = cost * 20 + inside[0] + outside[0]
            if best is None or total < best[0]:
                cases = (
                    _case(text, texts[inside[0]], close[inside[0], mask]),
                    _case("elsewhere", texts[outside[0]], close[outside[0], ~mask]),
                )
                best = (total, cases)
    if best is not None:
        return best[1]
    most = int(close.sum(axis=1).argmax())
    return (_case("", texts[most], close[most]),)


def _spread(condition: Condition, quantities: Quantities, samples: Samples) -> NDArray[np.bool_]:
    spread: NDArray[np.bool_] = condition.holds(quantities)[samples.scenario]
    return spread


def _case(condition: str, weight: str, close: NDArray[np.bool_]) -> DivisorCase:
    return DivisorCase(
        condition=condition,
        weight=weight,
        meaning=_NAMED.get(weight, ""),
        rows=int(close.sum()),
        of=len(close),
    )


def _close(values: Floats, weights: Floats) -> NDArray[np.bool_]:
    close: NDArray[np.bool_] = np.abs(values - weights) <= _RELATIVE * np.abs(weights)
    return close
