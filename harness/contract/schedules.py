"""Learning-rate schedules as plain functions of the scheduler position. No torch.

The same floating-point operations, in the same order, as `transformers/optimization.py`, so that rates
compare with `==`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ...scenarios import LrSchedule, Scenario

__all__ = ["learning_rate"]

Factor = Callable[[int, int, int], float]
"""(position, warm-up updates, T) -> factor of the base rate"""

_POLYNOMIAL_END = 1e-7
_INVERSE_SQRT_TIMESCALE = 10_000


def _warmup(position: int, warmup: int) -> float:
    return float(position) / float(warmup)


def _progress(position: int, warmup: int, total: int) -> float:
    return float(position - warmup) / float(max(1, total - warmup))


def _linear(position: int, warmup: int, total: int) -> float:
    return max(0.0, float(total - position) / float(max(1, total - warmup)))


def _cosine(position: int, warmup: int, total: int) -> float:
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * 0.5 * 2.0 * _progress(position, warmup, total))))


def _cosine_with_restarts(position: int, warmup: int, total: int) -> float:
    progress = min(1.0, _progress(position, warmup, total))
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))


def _constant(position: int, warmup: int, total: int) -> float:
    del position, warmup, total
    return 1.0


def _inverse_sqrt(position: int, warmup: int, total: int) -> float:
    del total
    timescale = warmup or _INVERSE_SQRT_TIMESCALE
    return 1.0 / math.sqrt((position + (timescale - warmup)) / timescale)


_AFTER_WARMUP: dict[LrSchedule, Factor] = {
    LrSchedule.LINEAR: _linear,
    LrSchedule.COSINE: _cosine,
    LrSchedule.COSINE_WITH_RESTARTS: _cosine_with_restarts,
    LrSchedule.CONSTANT: _constant,
    LrSchedule.CONSTANT_WITH_WARMUP: _constant,
    LrSchedule.INVERSE_SQRT: _inverse_sqrt,
}


def learning_rate(scenario: Scenario, position: int, total: int) -> float:
    """Return the rate of the update that runs after `position` scheduler steps.

    Args:
        scenario: names the schedule, the base rate and the warm-up.
        position: scheduler steps made before the update, 0 for the first.
        total: T, the length the schedule is built for.
    """
    base, warmup = scenario.learning_rate, scenario.warmup_steps
    schedule = scenario.lr_schedule
    if schedule is LrSchedule.CONSTANT:
        return base
    if position < warmup:
        return base * _warmup(position, warmup)
    if schedule is LrSchedule.POLYNOMIAL:
        return base * _polynomial(position, warmup, total, base)
    return base * _AFTER_WARMUP[schedule](position, warmup, total)


def _polynomial(position: int, warmup: int, total: int, base: float) -> float:
    if position >= total:  # at T by the formula too, but for its division by zero where warmup = T
        return _POLYNOMIAL_END / base
    remaining = 1 - (position - warmup) / (total - warmup)
    return ((base - _POLYNOMIAL_END) * remaining + _POLYNOMIAL_END) / base
