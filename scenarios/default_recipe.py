"""The recipe of the default suite: a covering array, boundary points, grids where faults have shown."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from .axes import Axis
from .boundary import boundary, updates_per_epoch
from .covering import covering
from .grid import grid
from .scenario import FirstLabel, LengthProfile, LossProtocol, LrSchedule, Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DEFAULT_AXES", "Section", "default_sections"]

DEFAULT_AXES: tuple[Axis, ...] = (
    Axis(name="rows", values=(1, 3, 9, 10, 13, 16)),
    Axis(name="lengths", values=tuple(LengthProfile)),
    Axis(name="first_label", values=tuple(FirstLabel)),
    Axis(name="loss_protocol", values=tuple(LossProtocol)),
    Axis(name="dataset", values=("sized", "iterable")),
    Axis(name="per_device_batch_size", values=(1, 2, 3, 4)),
    Axis(name="grad_accum", values=(1, 2, 4, 8)),
    Axis(name="max_steps", values=(None, 1, 3, 5, 7)),
    Axis(name="epochs", values=(0.5, 1.0, 1.5, 2.0, 3.0)),
    Axis(name="drop_last", values=(False, True)),
    Axis(name="shuffle", values=(True, False)),
    Axis(name="lr_schedule", values=tuple(LrSchedule)),
    Axis(name="warmup_steps", values=(0, 2)),
    Axis(name="optimizer", values=("sgd", "adamw_torch")),
    Axis(name="max_grad_norm", values=(0.0, 0.1, 1.0)),
    Axis(name="logging_steps", values=(0, 1, 2, 5)),
    Axis(name="eval_steps", values=(0, 2)),
    Axis(name="save_steps", values=(0, 3)),
)
"""All pairs of these occur in the default suite."""

_SHAPES = ((16, 2, 2), (9, 2, 2), (13, 2, 4), (3, 1, 8), (10, 2, 2))
"""(rows, batch size, accumulation) that told releases apart; the first tells nothing and is the control"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of the suite.

    Attributes:
        title: what it is for.
        scenarios: its scenarios; some may be in an earlier section too.
    """

    title: str
    scenarios: tuple[Scenario, ...]


def default_sections() -> Iterator[Section]:
    """Yield the parts of the default suite, in order."""
    yield Section(title="every pair of the axes below", scenarios=covering(DEFAULT_AXES).scenarios)
    yield Section(title="epoch ends and remainders, asked for in epochs", scenarios=tuple(_by_epochs()))
    yield Section(title="epoch ends and remainders, asked for in updates", scenarios=tuple(_by_updates()))
    batch, accumulation, epochs = (
        Axis(name="per_device_batch_size", values=(2,)),
        Axis(name="grad_accum", values=(1, 4)),
        Axis(name="epochs", values=(2.0,)),
    )
    yield Section(title="boundary points", scenarios=boundary((batch, accumulation, epochs)).scenarios)
    yield Section(
        title="what the loss divides by",
        scenarios=grid(
            (
                Axis(name="loss_protocol", values=tuple(LossProtocol)),
                Axis(name="lengths", values=tuple(LengthProfile)),
                Axis(name="first_label", values=tuple(FirstLabel)),
            ),
            base={"rows": 13, "grad_accum": 4, "epochs": 2.0},
        ).scenarios,
    )
    yield Section(
        title="schedules and warm-up",
        scenarios=grid(
            (Axis(name="lr_schedule", values=tuple(LrSchedule)), Axis(name="warmup_steps", values=(0, 2))),
            base={"rows": 9, "grad_accum": 2, "epochs": 3.0},
        ).scenarios,
    )
    yield Section(title="clipping and cadences", scenarios=tuple(_clipping_and_cadences()))
    yield Section(title="odd accumulations", scenarios=tuple(_odd()))
    yield Section(title="interrupted and resumed", scenarios=tuple(_resumed()))
    yield Section(title="longer runs", scenarios=tuple(_longer()))


def _by_epochs() -> Iterator[Scenario]:
    for (rows, batch, accumulation), epochs in product(_SHAPES, (0.5, 1.0, 1.5, 2.0, 3.0)):
        yield Scenario(rows=rows, per_device_batch_size=batch, grad_accum=accumulation, epochs=epochs)


def _by_updates() -> Iterator[Scenario]:
    for (rows, batch, accumulation), epochs in product(_SHAPES, (1.0, 3.0)):
        updates = updates_per_epoch(rows=rows, batch=batch, accumulation=accumulation)
        for max_steps in sorted({3, 5, 7, updates, 2 * updates}):
            yield Scenario(
                rows=rows,
                per_device_batch_size=batch,
                grad_accum=accumulation,
                max_steps=max_steps,
                epochs=epochs,
            )


def _clipping_and_cadences() -> Iterator[Scenario]:
    base = Scenario(rows=9, grad_accum=2, epochs=3.0)
    for norm in (0.0, 0.1, 1.0):
        yield base.with_(max_grad_norm=norm)
    for field, cadences in {
        "logging_steps": (0, 2, 4),
        "eval_steps": (1, 3, 4),
        "save_steps": (2, 4),
    }.items():
        for cadence in cadences:
            yield base.with_(**{field: cadence})
    yield base.with_(logging_steps=2, eval_steps=3, save_steps=6)


def _odd() -> Iterator[Scenario]:
    for (rows, batch, accumulation), epochs in product(((13, 2, 3), (8, 1, 5), (21, 1, 7)), (1.0, 2.0)):
        yield Scenario(rows=rows, per_device_batch_size=batch, grad_accum=accumulation, epochs=epochs)


def _resumed() -> Iterator[Scenario]:
    """Yield interruptions inside the first and the second pass, at the end of a pass, and after a checkpoint."""
    base = Scenario(rows=13, grad_accum=2, epochs=3.0)
    for resume_at in (1, 3, 4, 6):
        yield base.with_(resume_at=resume_at)
    yield base.with_(resume_at=7, save_steps=3)
    yield base.with_(resume_at=2, lr_schedule=LrSchedule.COSINE, warmup_steps=2, optimizer="adamw_torch")


def _longer() -> Iterator[Scenario]:
    for rows, max_steps in ((60, 8), (64, 7), (64, 8), (64, 20)):
        yield Scenario(rows=rows, grad_accum=4, max_steps=max_steps)
    yield Scenario(rows=64, per_device_batch_size=4, grad_accum=4, epochs=3.0)
