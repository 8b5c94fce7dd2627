"""What the numeric tier adds to a record: curves of the run and of its replays, and of a resumed run. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

__all__ = [
    "FLOOR",
    "FLOOR_IN_AUTOCAST",
    "Curves",
    "ParameterDistance",
    "Replay",
    "Resumption",
    "UpdateDigest",
    "envelope_of",
    "replay_from_table",
    "resumption_from_table",
]

FLOOR = 4.0
"""least half-width of the envelope, in units of the run's epsilon times the value. A loss or a norm is a sum of some
thousand rounded terms: it carries one or two epsilons, and two replays of one run may agree better by luck."""

FLOOR_IN_AUTOCAST = 0.25
"""the same under autocast, where products are rounded coarsely but added up in float32: over the hundred label tokens
of a window their roundings average out (measured: up to 0.3 epsilons of a loss, 1.7 of a norm)"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """One value an update; None where the run has none.

    Attributes:
        losses: the loss whose gradient the update used.
        grad_norms: norm of that gradient before clipping.
        learning_rates: rate of the first parameter group.
    """

    losses: tuple[float | None, ...]
    grad_norms: tuple[float | None, ...]
    learning_rates: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterDistance:
    """How far one parameter ended from the float64 replay.

    Attributes:
        name: the parameter. elements: how many numbers it has.
        norm: 2-norm of its final value. moved: distance that training moved it.
        own: distance of the replay in the run's own precision. subject: distance of the subject's.
    """

    name: str
    elements: int
    norm: float
    moved: float
    own: float
    subject: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """The run's windows replayed by a trusted loop, in float64 and in the run's own precision.

    Attributes:
        precision: how the run computes, for people, e.g. `float32, forward in bfloat16`.
        epsilon: spacing of the numbers that its forward is rounded to.
        updates: how many of the run's updates were replayed, from the first one on.
        complete: whether these are all of them; only then are the parameters compared.
        subject: curves of the run. exact: of the float64 replay. own: of the replay in the run's own precision.
        envelope: rounding noise of this very run, `envelope_of(exact, own, floor)`.
        parameters: one entry a trained parameter, empty where the replay is not complete.
    """

    precision: str
    epsilon: float
    updates: int
    complete: bool
    subject: Curves
    exact: Curves
    own: Curves
    envelope: Curves
    parameters: tuple[ParameterDistance, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateDigest:
    """What one update of an uninterrupted run was: rows of its micro-batches, rates, weights, gradient norm."""

    rows: tuple[tuple[int, ...], ...]
    learning_rates: tuple[float, ...]
    weights: dict[int, float] | None
    grad_norm: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumption:
    """A run that was interrupted and resumed, beside the same run without interruption.

    Attributes:
        interrupted_after: optimizer step after which it was interrupted.
        resumed_at: optimizer step of the checkpoint it went on from.
        uninterrupted: every update of the other run.
        parameter_distance: largest difference between any two final parameters of the runs; 0 means bit for bit.
    """

    interrupted_after: int
    resumed_at: int
    uninterrupted: tuple[UpdateDigest, ...]
    parameter_distance: float


def envelope_of(exact: Curves, own: Curves, floor: float) -> Curves:
    """Return the rounding noise of a run: the running maximum of |own - exact|, at least floor·|exact|.

    The learning rate has none: it is float64 arithmetic in every precision. A value that is missing or NaN on either
    side makes the envelope NaN from there on: nothing lies within it.
    """

    def widened(ones: tuple[float | None, ...], others: tuple[float | None, ...]) -> tuple[float | None, ...]:
        noise = 0.0
        widths: list[float | None] = []
        for one, other in zip(ones, others, strict=True):
            if one is None or other is None:
                widths.append(None)
                continue
            apart = abs(other - one)
            noise = (
                math.nan if math.isnan(apart) or math.isnan(noise) else max(noise, apart, floor * abs(one))
            )
            widths.append(noise)
        return tuple(widths)

    return Curves(
        losses=widened(exact.losses, own.losses),
        grad_norms=widened(exact.grad_norms, own.grad_norms),
        learning_rates=tuple(0.0 for _ in exact.learning_rates),
    )


def replay_from_table(table: dict[str, Any]) -> Replay:
    """Return the replay that a record's JSON holds; non-finite numbers are strings there."""
    table = dict(table)
    for name in ("subject", "exact", "own", "envelope"):
        table[name] = Curves(**{item.name: _numbers(table[name][item.name]) for item in fields(Curves)})
    table["parameters"] = tuple(
        ParameterDistance(
            name=entry["name"],
            elements=entry["elements"],
            **{name: float(entry[name]) for name in ("norm", "moved", "own", "subject")},
        )
        for entry in table["parameters"]
    )
    return Replay(**table)


def resumption_from_table(table: dict[str, Any]) -> Resumption:
    """Return the resumption that a record's JSON holds."""
    updates = tuple(
        UpdateDigest(
            rows=tuple(tuple(rows) for rows in entry["rows"]),
            learning_rates=tuple(float(rate) for rate in entry["learning_rates"]),
            weights=None
            if entry["weights"] is None
            else {int(row): float(weight) for row, weight in entry["weights"].items()},
            grad_norm=None if entry["grad_norm"] is None else float(entry["grad_norm"]),
        )
        for entry in table["uninterrupted"]
    )
    return Resumption(
        interrupted_after=table["interrupted_after"],
        resumed_at=table["resumed_at"],
        uninterrupted=updates,
        parameter_distance=float(table["parameter_distance"]),
    )


def _numbers(values: list[Any]) -> tuple[float | None, ...]:
    return tuple(None if value is None else float(value) for value in values)
