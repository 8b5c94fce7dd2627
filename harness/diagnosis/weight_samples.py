"""The weight books as samples: every row of every window with its weight and all that it may have been divided by.

Legend: n samples; measures are float64 `[n]`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ...scenarios import FirstLabel, ModelKind, Scenario
from ...scenarios.lengths import row_length
from ..contract import CellBooks
from ..contract.rules.weights import unclipped_weights
from ..ledger import MicroBatch, Update

__all__ = ["MEASURES", "Floats", "Samples", "weight_samples"]

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
