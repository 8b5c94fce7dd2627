"""Boundary points by construction: the places where step arithmetic goes wrong.

Legend: B per-device batch size, R ranks, A accumulation, E epochs, M micro-batches and U updates an epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from .axes import Axis, legal_base, require_distinct
from .scenario import ScenarioError, nearest
from .sweep import Sweep, assemble

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["BOUNDARY_AXES", "BoundaryPoint", "boundary", "boundary_points", "updates_per_epoch"]

BOUNDARY_AXES: tuple[Axis, ...] = (
    Axis(name="per_device_batch_size", values=(2, 3)),
    Axis(name="grad_accum", values=(1, 4)),
    Axis(name="epochs", values=(1.0, 2.0)),
)
"""What the points are built around unless told otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundaryPoint:
    """Field values at a boundary.

    Attributes:
        why: which boundary it is.
        values: the fields that make it.
    """

    why: str
    values: Mapping[str, Any]


def updates_per_epoch(*, rows: int, batch: int, accumulation: int, drop_last: bool = False) -> int:
    """Return U = max(ceil(M / A), 1) with M = ceil(rows / batch), floor with drop_last; batch is B·R."""
    micro_batches = rows // batch if drop_last else -(-rows // batch)
    return max(-(-micro_batches // accumulation), 1)


def boundary(axes: tuple[Axis, ...] = BOUNDARY_AXES, *, base: Mapping[str, Any] | None = None) -> Sweep:
    """Return the boundary points for every combination of batch size, accumulation and epochs.

    Args:
        axes: any of per_device_batch_size, grad_accum, epochs; what is missing is as in `BOUNDARY_AXES`,
            or in `base`.
        base: values of the other fields.

    Raises:
        ScenarioError: another axis, a base that fixes what the points choose, or no valid point.
    """
    require_distinct(axes)
    allowed = [axis.name for axis in BOUNDARY_AXES]
    for axis in axes:
        if axis.name not in allowed:
            raise ScenarioError(
                f"boundary points are built from {', '.join(allowed)}, not from axis {axis.name!r}"
                + nearest(axis.name, allowed)
            )
    fixed = legal_base(base or {})
    for name in ("rows", "max_steps"):
        if name in fixed:
            raise ScenarioError(
                f"boundary points choose {name} themselves, so base cannot fix it at {fixed[name]}"
            )
    values = {axis.name: axis.values for axis in BOUNDARY_AXES}
    values |= {name: (fixed[name],) for name in allowed if name in fixed}
    values |= {axis.name: axis.values for axis in axes}
    points = (
        fixed | dict(point.values)
        for batch, accumulation, epochs in product(*(values[name] for name in allowed))
        for point in boundary_points(
            batch=batch, accumulation=accumulation, epochs=epochs, ranks=fixed.get("ranks", 1)
        )
    )
    return assemble("boundary", points, unit="points")


def boundary_points(
    *, batch: int, accumulation: int, epochs: float, ranks: int = 1
) -> Iterator[BoundaryPoint]:
    """Yield the points around one B, A, E (and R); a field that is not set keeps its base value."""
    unit = batch * ranks
    window = unit * accumulation
    run = window * math.ceil(epochs)
    common: dict[str, Any] = {"per_device_batch_size": batch, "grad_accum": accumulation, "epochs": epochs}

    def point(why: str, **values: Any) -> BoundaryPoint:
        return BoundaryPoint(why=why, values={"max_steps": None} | common | values)

    for name, size in (("B", unit), ("B·A", window), ("B·A·E", run)):
        for rows in (size - 1, size, size + 1, 2 * size + 1):
            if rows >= 1:
                yield point(f"rows around {name}", rows=rows)
    rows = 2 * window + 1  # two whole windows and a short one
    updates = updates_per_epoch(rows=rows, batch=unit, accumulation=accumulation)
    for steps in sorted({0, 1, *(k * updates + d for k in (1, 2) for d in (-1, 0, 1))}):
        yield point("max_steps around U and 2U", rows=rows, max_steps=steps)
    if accumulation > 1:
        yield point("accumulation larger than an epoch", rows=window - unit)
        yield point("accumulation larger than an epoch", rows=window - unit, max_steps=3)
    for fraction in (0.5, 1.5):
        yield point("fractional epochs, odd U", rows=rows, epochs=fraction)
        yield point("fractional epochs, even U", rows=2 * window, epochs=fraction)
    yield point("one row", rows=1)
    yield point("one row", rows=1, max_steps=3)
    for rows in (unit - 1, unit, unit + 1, window + 1):
        if rows >= 1:
            yield point("drop_last", rows=rows, drop_last=True)
    if unit > 1:
        yield point("drop_last with rows < B", rows=unit - 1, drop_last=True, max_steps=3)
