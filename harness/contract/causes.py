"""What a wrong gradient was divided by, named from its cosine and its ratio to the expected one.

A gradient that points where it should and is k times too long was scaled as a whole; k says by what. One that points
elsewhere was scaled micro-batch by micro-batch, or holds something else.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from ...scenarios import Scenario
from ..ledger import Update
from .contracts import Contract, Reduction
from .reduction import window_weights

__all__ = ["cause_of"]

_RELATIVE = 1e-6
"""loops often hold their divisor in float32 (rounding 6e-8); two divisors of less than 10^6 tokens differ by more"""

_REDUCTIONS = {
    Reduction.MEAN_OF_MEANS: "micro-batch means are averaged, so that tokens of short micro-batches weigh more",
    Reduction.MEAN_OVER_ACCUM: "micro-batch means are summed and divided by the accumulation asked for",
    Reduction.TOKEN_MEAN_OF_RANKS: "every rank divides by its own label tokens",
    Reduction.TOKEN_MEAN: "a token mean over the window, which this contract does not promise",
}


def cause_of(
    contract: Contract,
    scenario: Scenario,
    update: Update,
    previous: Update | None,
    expected: Mapping[int, float],
    got: Mapping[int, float],
) -> str:
    """Return the cosine and the ratio of an update's gradient to the expected one, with the cause where they tell it.

    Args:
        contract: that gave the expected weights.
        scenario: of the cell; one rank.
        update: whose gradient it is.
        previous: the update before, if there is one.
        expected: weight of a label token of each row, by the contract; not empty.
        got: the same as it was before clipping; a row that is not in it weighs nothing.
    """
    tokens: Counter[int] = Counter()
    for item in update.window:
        for row, count in item.row_tokens:
            tokens[row] += count
    weights = {row: got.get(row, 0.0) for row in expected}
    want = [tokens[row] * weight for row, weight in expected.items()]
    have = [tokens[row] * weight for row, weight in weights.items()]
    long, short = math.hypot(*have), math.hypot(*want)
    if not (math.isfinite(long) and long > 0):
        return ""
    dot = sum(map(operator.mul, have, want))
    cosine, ratio = dot / (long * short), dot / short**2
    seen = f"gradient = {ratio:.6g} × the expected one (cosine {cosine:.6f})"
    if _all_close(weights, expected, ratio):
        causes = [text for factor, text in _factors(scenario, update, previous) if _close(ratio, factor)]
        return f"{seen}: {' or '.join(causes)}" if causes else seen
    for reduction, text in _REDUCTIONS.items():
        other = replace(contract, reduction=dict.fromkeys(contract.reduction, reduction))
        promised = window_weights(other, scenario, update)
        if _all_close(weights, promised):
            return f"{seen}: {text}"
        if reduction is Reduction.MEAN_OF_MEANS and _all_close(weights, promised, len(update.window)):
            return f"{seen}: micro-batch means are summed, the division by the accumulation is missing"
    return seen


def _factors(scenario: Scenario, update: Update, previous: Update | None) -> list[tuple[float, str]]:
    """Return what a whole gradient is scaled by when one thing is wrong, with that thing."""
    A, W, N = scenario.grad_accum, len(update.window), update.label_tokens
    factors: list[tuple[float, str]] = []
    if A > 1:
        factors += [
            (A, "division by the accumulation missing"),
            (1 / A, "divided by the accumulation twice"),
        ]
    if 1 < W < A:
        factors += [
            (W, "division by the window's micro-batches missing"),
            (1 / W, "divided by the window's micro-batches twice"),
        ]
    if W < A:
        factors.append((W / A, f"a window of {W} divided as if it had {A} micro-batches"))
    if N > 1:
        factors.append((N, "token losses are summed, no division at all"))
    if previous is not None and previous.label_tokens and previous.label_tokens != N:
        factors.append((N / previous.label_tokens, "divided by the label tokens of the window before"))
    rows = len(update.rows)
    if rows != N:
        factors.append((N / rows, "divided by the rows of the window, not by its label tokens"))
    return factors


def _all_close(got: Mapping[int, float], want: Mapping[int, float], factor: float = 1.0) -> bool:
    return all(_close(weight, factor * want[row]) for row, weight in got.items())


def _close(got: float, want: float) -> bool:
    return math.isclose(got, want, rel_tol=_RELATIVE)
