"""The counts of a contract over millions of scenarios at once, as numpy columns. Agrees with `expect` exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .contracts import Contract, Horizon, Windows

__all__ = ["Columns", "Predicted", "predict_columns"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Scenarios as columns, all of one length `n`.

    Attributes:
        rows, per_device_batch_size, grad_accum, ranks: int64 `[n]`, at least 1.
        max_steps: int64 `[n]`, 0 where none is asked for.
        epochs: float64 `[n]`, positive.
        drop_last: bool `[n]`.
    """

    rows: Integers
    per_device_batch_size: Integers
    grad_accum: Integers
    ranks: Integers
    max_steps: Integers
    epochs: NDArray[np.float64]
    drop_last: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """The predicted counts, int64 `[n]` each; names as in `Terms` and `Expectation`."""

    M: Integers
    U: Integers
    T: Integers
    optimizer_steps: Integers
    micro_batches: Integers
    epochs_entered: Integers


def predict_columns(columns: Columns, contract: Contract) -> Predicted:
    """Predict the counts of every scenario under one contract."""
    A = columns.grad_accum
    together = columns.per_device_batch_size * columns.ranks
    rows = -(-columns.rows // contract.rows_per_sequence)
    M = np.where(columns.drop_last, rows // together, -(-rows // together))
    U = np.maximum(M // A, 1) if contract.floor_updates else np.maximum(-(-M // A), 1)
    limited = columns.max_steps > 0
    by_epochs = np.ceil(columns.epochs * U).astype(np.int64)
    first = contract.horizon is Horizon.WHICHEVER_FIRST
    T = np.where(limited, np.minimum(columns.max_steps, by_epochs) if first else columns.max_steps, by_epochs)
    T = np.where(M > 0, T, 0)
    if contract.windows is Windows.PER_EPOCH:
        full, rest = np.divmod(T, U)
        return Predicted(
            M=M,
            U=U,
            T=T,
            optimizer_steps=T,
            micro_batches=full * M + rest * A,
            epochs_entered=full + (rest > 0),
        )
    E = np.where(limited, -(-T // U), np.ceil(columns.epochs).astype(np.int64))
    available = E * M
    # Windows close at multiples of A and, where a whole epoch fits into one, at multiples of M.
    tight = (M > 0) & (M <= A)
    safe_M = np.maximum(M, 1)
    optimizer_steps = np.minimum(T, available // A)
    micro_batches = optimizer_steps * A
    where = np.flatnonzero(tight)  # few of them: the rest needs no search
    if where.size:
        few_M, few_A = M[where], A[where]
        both = np.lcm(few_M, few_A)

        def closed(done: Integers) -> Integers:
            return done // few_A + done // few_M - done // both

        optimizer_steps[where] = np.minimum(T[where], closed(available[where]))
        micro_batches[where] = _first_reaching(closed, optimizer_steps[where], available[where])
    return Predicted(
        M=M,
        U=U,
        T=T,
        optimizer_steps=optimizer_steps,
        micro_batches=micro_batches,
        epochs_entered=-(-micro_batches // safe_M),
    )


def _first_reaching(closed: Callable[[Integers], Integers], wanted: Integers, most: Integers) -> Integers:
    """Return the least `done` with `closed(done) >= wanted`, by bisection on all columns at once."""
    low, high = np.zeros_like(most), most.copy()
    while np.any(low < high):
        middle = (low + high) // 2
        enough = closed(middle) >= wanted
        low, high = np.where(enough, low, middle + 1), np.where(enough, middle, high)
    return low
