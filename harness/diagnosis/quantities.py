"""The quantities that a formula may name, as integer columns over many scenarios at once.

Legend: n scenarios; every column is int64 `[n]`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ...scenarios import Scenario
from ...scenarios.axes import AXIS_NAMES, axis_type
from ..contract import Contract
from ..contract.vectorised import Columns, predict_columns

__all__ = ["DEFINITIONS", "MEANINGS", "Integers", "Quantities", "quantities_of"]

Integers = NDArray[np.int64]

DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "U_floor": "max(M // A, 1)",
        "T_floor": "max_steps if max_steps > 0 else ceil(epochs·U_floor)",
        "E_floor": "ceil(T_floor / U_floor) if max_steps > 0 else ceil(epochs)",
        "G": "B·A·R",
        "M_ceil": "ceil(rows / (B·R))",
        "M_floor": "rows // (B·R)",
        "N_T": "(T // U)·M + (T % U)·A",
        "N_done": "(done // U)·M + (done % U)·A",
    }
)
"""What the derived symbols stand for; those of the contract (M, U, T, E) are defined by the contract."""

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "rows": "dataset rows",
        "B": "per-device batch size",
        "A": "accumulation",
        "R": "ranks",
        "M": "micro-batches per epoch",
        "U": "optimizer steps per epoch",
        "T": "optimizer steps of the run",
        "E": "epochs entered",
        "done": "optimizer steps that were observed",
    }
)

_COSTS: Mapping[str, float] = MappingProxyType(
    {"T": 0.9, "U": 0.95, "E": 0.95, "M": 0.95, "max_steps": 0.97, "A": 0.98, "B": 0.99, "rows": 1.0}
    | {"R": 1.1, "ceil(epochs)": 1.05, "floor(epochs)": 1.2, "G": 1.3, "M_ceil": 1.35, "M_floor": 1.35}
    | {"U_floor": 1.4, "T_floor": 1.6, "E_floor": 1.6, "N_T": 1.7, "N_done": 1.2, "done": 0.8}
    | {"0": 0.9, "1": 0.9, "2": 1.3}
)
"""simplicity of a leaf: what the contract names comes first, floor variants last"""


@dataclass(frozen=True, kw_only=True)
class Quantities:
    """Columns of every leaf of the grammar over the same scenarios.

    Attributes:
        columns: leaf text to int64 `[n]`.
        epochs: `num_train_epochs` as it was asked for, float64 `[n]`.
        fields: scenario field to its values, `[n]`: words as text, numbers as float64 (NaN where None).
    """

    columns: Mapping[str, Integers]
    epochs: NDArray[np.float64]
    fields: Mapping[str, NDArray[np.str_] | NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.epochs)

    def numbers(self, field: str) -> NDArray[np.float64]:
        """Return a field that holds numbers."""
        return self.fields[field].astype(np.float64)

    def cost(self, leaf: str) -> float:
        """Return how simple a leaf is; smaller is simpler."""
        return _COSTS[leaf]

    def scaled_epochs(self, factor: Integers, *, ceiling: bool) -> Integers:
        """Return ceil or floor of epochs·factor, rounded as Python rounds the float product."""
        product = self.epochs * factor
        return (np.ceil(product) if ceiling else np.floor(product)).astype(np.int64)

    def take(self, positions: Sequence[int] | Integers) -> Quantities:
        """Return the quantities of some scenarios."""
        at = np.asarray(positions, dtype=np.int64)
        return Quantities(
            columns={name: column[at] for name, column in self.columns.items()},
            epochs=self.epochs[at],
            fields={name: column[at] for name, column in self.fields.items()},
        )

    def with_done(self, done: Integers) -> Quantities:
        """Return them with the observed optimizer steps, and the micro-batches that follow from those."""
        U, M, A = self.columns["U"], self.columns["M"], self.columns["A"]
        follow = done // U * M + done % U * A
        columns = {**self.columns, "done": done, "N_done": follow}
        return Quantities(columns=columns, epochs=self.epochs, fields=self.fields)


def quantities_of(scenarios: Sequence[Scenario], contract: Contract) -> Quantities:
    """Compute the columns of a list of scenarios under a contract."""

    def column(name: str) -> Integers:
        return np.array([getattr(scenario, name) or 0 for scenario in scenarios], dtype=np.int64)

    rows, B, A, R = (column(name) for name in ("rows", "per_device_batch_size", "grad_accum", "ranks"))
    limit = column("max_steps")
    epochs = np.array([scenario.epochs for scenario in scenarios], dtype=np.float64)
    drop_last = np.array([scenario.drop_last for scenario in scenarios], dtype=np.bool_)
    given = Columns(
        rows=rows,
        per_device_batch_size=B,
        grad_accum=A,
        ranks=R,
        max_steps=limit,
        epochs=epochs,
        drop_last=drop_last,
    )
    predicted = predict_columns(given, contract)
    M, U, T = predicted.M, predicted.U, predicted.T
    limited = limit > 0
    whole = np.ceil(epochs).astype(np.int64)
    E = np.where(M > 0, np.where(limited, -(-T // U), whole), 0)
    U_floor = np.maximum(M // A, 1)
    T_floor = np.where(limited, limit, np.ceil(epochs * U_floor).astype(np.int64))
    columns: dict[str, Integers] = {
        "T": T,
        "U": U,
        "E": E,
        "M": M,
        "max_steps": limit,
        "A": A,
        "B": B,
        "rows": rows,
        "ceil(epochs)": whole,
        "R": R,
        "floor(epochs)": np.floor(epochs).astype(np.int64),
        "G": B * A * R,
        "M_ceil": -(-rows // (B * R)),
        "M_floor": rows // (B * R),
        "U_floor": U_floor,
        "T_floor": T_floor,
        "E_floor": np.where(limited, -(-T_floor // U_floor), whole),
        "N_T": T // U * M + T % U * A,
    }
    for constant in ("0", "1", "2"):
        columns[constant] = np.full(len(scenarios), int(constant), dtype=np.int64)
    return Quantities(columns=columns, epochs=epochs, fields=_fields(scenarios))


def _fields(scenarios: Sequence[Scenario]) -> dict[str, NDArray[np.str_] | NDArray[np.float64]]:
    fields: dict[str, NDArray[np.str_] | NDArray[np.float64]] = {}
    for name in AXIS_NAMES:
        kind = axis_type(name)
        values = [getattr(scenario, name) for scenario in scenarios]
        if kind is bool:
            fields[name] = np.array([str(value).lower() for value in values], dtype=np.str_)
        elif issubclass(kind, StrEnum):
            fields[name] = np.array([value.value for value in values], dtype=np.str_)
        else:
            numbers = [math.nan if value is None else float(value) for value in values]
            fields[name] = np.array(numbers, dtype=np.float64)
    return fields
