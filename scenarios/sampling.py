"""Seeded random scenarios in which every axis takes part evenly."""

from __future__ import annotations

import random
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .axes import Axis, legal_base, require_distinct
from .scenario import Scenario, ScenarioError
from .sweep import Exclusion, Sweep
from .validity import rule_groups

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RANDOM_AXES", "sample"]

_VALUES: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "rows": tuple(range(1, 33)),
        "lengths": ("equal", "ragged"),
        "first_label": ("counted", "masked"),
        "loss_protocol": ("none", "honoured", "ignored", "overridden"),
        "dataset": ("sized", "iterable"),
        "per_device_batch_size": (1, 2, 3, 4, 5, 8),
        "grad_accum": (1, 2, 3, 4, 5, 8),
        "max_steps": (None, 0, 1, 2, 3, 4, 5, 7, 9, 12),
        "epochs": (0.25, 0.5, 1.0, 1.5, 2.0, 2.75, 3.0),
        "drop_last": (False, True),
        "shuffle": (False, True),
        "seed": (0, 1, 2, 3),
        "lr_schedule": (
            "linear",
            "cosine",
            "cosine_with_restarts",
            "polynomial",
            "constant",
            "constant_with_warmup",
            "inverse_sqrt",
        ),
        "warmup_steps": (0, 1, 3),
        "learning_rate": (0.01, 0.001),
        "optimizer": ("sgd", "adamw_torch"),
        "max_grad_norm": (0.0, 0.1, 1.0),
        "logging_steps": (0, 1, 2, 5),
        "eval_steps": (0, 2, 3),
        "save_steps": (0, 3, 4),
    }
)
RANDOM_AXES: tuple[Axis, ...] = tuple(Axis(name=name, values=values) for name, values in _VALUES.items())
"""What is sampled unless told otherwise: all that a trace cell on one rank can vary."""

_PATIENCE = 50
"""draws per wanted scenario before the space counts as exhausted"""


def sample(
    *,
    count: int,
    seed: int,
    axes: tuple[Axis, ...] = RANDOM_AXES,
    base: Mapping[str, Any] | None = None,
) -> Sweep:
    """Return `count` distinct valid scenarios, the same for the same arguments.

    Axes that a rule ties together are drawn jointly from their valid values, every other axis from a shuffled
    bag of its values that is refilled when empty, so that values occur equally often, to within one.

    Raises:
        ScenarioError: `count` below 1, no valid combination, or fewer distinct scenarios than asked for.
    """
    if count < 1:
        raise ScenarioError(f"count must be at least 1, not {count}")
    require_distinct(axes)
    fixed = legal_base(base or {})
    groups = rule_groups(axes, fixed)
    grouped = {name for group in groups for name in group.names}
    columns = [(group.names, group.valid) for group in groups]
    columns += [((axis.name,), tuple((v,) for v in axis.values)) for axis in axes if axis.name not in grouped]
    generator = random.Random(seed)
    bags: list[list[tuple[Any, ...]]] = [[] for _ in columns]
    found: dict[Scenario, None] = {}
    merged = 0
    for _ in range(count * _PATIENCE):
        point = dict(fixed)
        for bag, (names, values) in zip(bags, columns, strict=True):
            if not bag:
                bag.extend(values)
                generator.shuffle(bag)
            point.update(zip(names, bag.pop(), strict=True))
        scenario = Scenario(**point)
        merged += scenario in found
        found[scenario] = None
        if len(found) == count:
            break
    else:
        raise ScenarioError(f"asked for {count} distinct random scenarios, the axes gave only {len(found)}")
    excluded = Counter(reason for group in groups for reason in group.invalid.values())
    exclusions = tuple(Exclusion(count=n, unit="joint values", reason=why) for why, n in excluded.items())
    return Sweep(kind="random", scenarios=tuple(found), exclusions=exclusions, merged=merged)
