"""The closed forms: the account that a contract predicts for a scenario. Pure integer code."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from ...scenarios import Scenario
from .contracts import Contract, Horizon, Windows
from .schedules import learning_rate

__all__ = ["Expectation", "Terms", "expect", "terms_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """The quantities of the formulas, by the letters that the formulas use.

    Attributes:
        rows: dataset rows, or the sequences that they are packed into. B: per-device batch. A: accumulation. R: ranks.
        M: micro-batches per epoch on one rank.
        U: optimizer steps per epoch.
        T: optimizer steps of the run.
        E: epochs entered.
    """

    rows: int
    B: int
    A: int
    R: int
    M: int
    U: int
    T: int
    E: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """The account that the contract predicts.

    Attributes:
        terms: the quantities it was computed from.
        optimizer_steps: updates of the run.
        scheduler_steps: advances of the schedule on one rank: as many, or R times as many where the contract says so.
        micro_batches: forwards and backwards of one rank.
        windows: micro-batches in the window of each update.
        learning_rates: rate that each update uses.
        epochs_after: claimed epoch after each update, exact.
    """

    terms: Terms
    optimizer_steps: int
    scheduler_steps: int
    micro_batches: int
    epochs_entered: int
    windows: tuple[int, ...]
    learning_rates: tuple[float, ...]
    epochs_after: tuple[Fraction, ...]


def terms_of(scenario: Scenario, contract: Contract) -> Terms:
    """Compute M, U, T, E of a scenario (formulas: DESIGN, contract; `formulas.py` shows them filled in).

    Where drop_last leaves no micro-batch at all, M = 0 and nothing can be trained: T = E = 0.
    """
    rows = -(-scenario.rows // contract.rows_per_sequence)
    B, A, R = scenario.per_device_batch_size, scenario.grad_accum, scenario.ranks
    M = rows // (B * R) if scenario.drop_last else -(-rows // (B * R))
    U = max(M // A, 1) if contract.floor_updates else max(M // A + (M % A > 0), 1)
    if M == 0:
        T = E = 0
    elif contract.horizon is Horizon.WHICHEVER_FIRST:
        T = math.ceil(scenario.epochs * U)
        T = min(scenario.max_steps or T, T)
        E = -(-T // U)
    elif scenario.max_steps:
        T = scenario.max_steps
        E = -(-T // U)
    else:
        T = math.ceil(scenario.epochs * U)
        E = math.ceil(scenario.epochs)
    return Terms(rows=rows, B=B, A=A, R=R, M=M, U=U, T=T, E=E)


def expect(scenario: Scenario, contract: Contract) -> Expectation:
    """Predict the account of a scenario under a contract."""
    terms = terms_of(scenario, contract)
    ends = _window_ends(terms, contract)
    windows = tuple(end - start for start, end in zip((0, *ends), ends, strict=False))
    done = len(ends)
    each = terms.R if contract.advances_per_rank else 1
    stretched = scenario if each == 1 else scenario.with_(warmup_steps=scenario.warmup_steps * each)
    return Expectation(
        terms=terms,
        optimizer_steps=done,
        scheduler_steps=done * each,
        micro_batches=ends[-1] if ends else 0,
        epochs_entered=-(-ends[-1] // terms.M) if ends else 0,
        windows=windows,
        learning_rates=tuple(
            learning_rate(stretched, position * each, terms.T * each) for position in range(done)
        ),
        epochs_after=tuple(Fraction(end, terms.M) for end in ends),
    )


def _window_ends(terms: Terms, contract: Contract) -> tuple[int, ...]:
    """Return the number of micro-batches that are done after each update."""
    M, A, T = terms.M, terms.A, terms.T
    if contract.windows is Windows.PER_EPOCH:
        return tuple(
            epoch * M + min((window + 1) * A, M)
            for epoch, window in (divmod(update, terms.U) for update in range(T))
        )
    short = min(M, A)  # a whole epoch that fits into a window closes one at its end
    ends = (done for done in range(1, terms.E * M + 1) if done % A == 0 or done % short == 0)
    return tuple(end for end, _ in zip(ends, range(T), strict=False))
