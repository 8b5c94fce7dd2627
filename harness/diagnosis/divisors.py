"""What a label token's weight was really divided by, read from the weight books of the updates.

Legend: n samples, one for every row of every update's window; measures are float64 `[n]`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ...scenarios import FirstLabel, ModelKind, Scenario
from ...scenarios.lengths import row_length
from ..contract import CellBooks, Reduction
from ..contract.rules.weights import unclipped_weights
from ..ledger import MicroBatch, Update
from .conditions import Condition, branch_conditions
from .quantities import Quantities, quantities_of

__all__ = ["MEASURES", "Divisor", "DivisorCase", "divisor_of", "weight_samples"]

Floats = NDArray[np.float64]

MEASURES: Mapping[str, str] = MappingProxyType(
    {
        "N": "label tokens of the window",
        "n": "label tokens of the micro-batch",
        "W": "micro-batches of the window",
        "A": "the accumulation asked for",
        "n_row": "label tokens of the row",
        "b": "rows of the micro-batch",
        "b_window": "rows of the window",
        "B": "the per-device batch size asked for",
        "N_unshifted": "labels of the window before the shift",
        "n_unshifted": "labels of the micro-batch before the shift",
        "N_input": "tokens of the window that are not padding",
        "n_input": "tokens of the micro-batch that are not padding",
        "N_padded": "positions of the window, padding included",
        "n_padded": "positions of the micro-batch, padding included",
        "N_last": "label tokens of the window before",
        "W_full": "the longest window of the run",
    }
)
"""Letters of a divisor, simplest first."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """Weights with their measures.

    Attributes:
        weights: weight of one label token, `[n]`.
        measures: measure to `[n]`.
        scenario: position of the scenario of each sample, int64 `[n]`.
        short: whether the window was shorter than the accumulation, `[n]`.
    """

    weights: Floats
    measures: Mapping[str, Floats]
    scenario: NDArray[np.int64]
    short: NDArray[np.bool_]
    updates: int
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
        Reduction.MEAN_OF_MEANS: "1 / (n·W)",
        Reduction.MEAN_OVER_ACCUM: "1 / (n·A)",
    }
)


def weight_samples(books: Sequence[CellBooks]) -> Samples:
    """Gather one sample for every row of every window, except for rows that it has twice, or without labels."""
    weights: list[float] = []
    columns: dict[str, list[float]] = {name: [] for name in MEASURES}
    positions: list[int] = []
    short: list[bool] = []
    updates = foreign = 0
    for position, item in enumerate(books):
        before = 0.0
        longest = max(item.observed.windows, default=0)
        for update in item.observed.done:
            found = unclipped_weights(item, update)
            if found is None:
                continue
            updates += 1
            foreign += bool(set(found) - set(update.rows))
            last, before = before, float(update.label_tokens)
            for micro_batch in update.window:
                shared = _measures(item.scenario, update, micro_batch, last, longest)
                for row, tokens in zip(micro_batch.rows, micro_batch.label_tokens, strict=True):
                    if not tokens or update.rows.count(row) > 1:
                        continue
                    weights.append(found.get(row, 0.0))
                    positions.append(position)
                    short.append(len(update.window) < item.scenario.grad_accum)
                    for name, value in {**shared, "n_row": float(tokens)}.items():
                        columns[name].append(value)
    return Samples(
        weights=np.array(weights, dtype=np.float64),
        measures={name: np.array(column, dtype=np.float64) for name, column in columns.items()},
        scenario=np.array(positions, dtype=np.int64),
        short=np.array(short, dtype=np.bool_),
        updates=updates,
        foreign=foreign,
    )


def _measures(
    scenario: Scenario, update: Update, micro_batch: MicroBatch, last: float, longest: int
) -> dict[str, float]:
    window = update.window
    extra = int(scenario.first_label is FirstLabel.COUNTED)
    padded = (
        row_length(scenario) if scenario.model is ModelKind.TRACER else math.nan
    )  # only the tracer's is known

    def labels(item: MicroBatch) -> int:
        return sum(item.label_tokens)

    return {
        "N": float(update.label_tokens),
        "n": float(labels(micro_batch)),
        "W": float(len(window)),
        "A": float(scenario.grad_accum),
        "b": float(len(micro_batch.rows)),
        "b_window": float(len(update.rows)),
        "B": float(scenario.per_device_batch_size),
        "N_unshifted": float(update.label_tokens + extra * len(update.rows)),
        "n_unshifted": float(labels(micro_batch) + extra * len(micro_batch.rows)),
        "N_input": float(sum(item.input_tokens for item in window)),
        "n_input": float(micro_batch.input_tokens),
        "N_padded": float(len(update.rows) * padded),
        "n_padded": float(len(micro_batch.rows) * padded),
        "N_last": last,
        "W_full": float(longest),
    }


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
