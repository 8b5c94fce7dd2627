"""Shrinking: a scenario that breaks a rule, reduced until no single simplification breaks it any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ...scenarios import Scenario, ScenarioError
from ...scenarios.axes import AXIS_NAMES, axis_type

__all__ = ["Shrunk", "StillFails", "shrink", "simplifications"]

StillFails = Callable[[Sequence[Scenario]], Sequence[bool]]
"""answers for each scenario whether the same rule fails there; what cannot be run does not fail"""

_SIMPLEST: dict[str, Any] = {"rows": 1, "per_device_batch_size": 1}
"""where the simplest value is not the default one"""
_ORDER = (
    "dataset",
    "loss_protocol",
    "drop_last",
    "max_steps",
    "epochs",
    "grad_accum",
    "rows",
    "per_device_batch_size",
)
"""fields are simplified in this order, what people find hardest to read first; the others before all of them"""
_EVERY_VALUE = 40
"""integers up to here are tried one by one"""
_AT_ONCE = 12
_MOST_RUNS = 800
_OTHERS: dict[str, tuple[Any, ...]] = {
    "rows": (2, 5, 16, 33),
    "per_device_batch_size": (1, 2, 3, 4),
    "grad_accum": (1, 2, 3, 5),
    "max_steps": (None, 1, 3, 7),
    "epochs": (0.5, 1.0, 1.5, 2.0, 3.0),
    "drop_last": (False, True),
    "shuffle": (False, True),
    "seed": (0, 1, 2),
    "warmup_steps": (0, 1, 2),
    "learning_rate": (0.01, 0.001),
    "max_grad_norm": (0.0, 1.0, 0.1),
    "logging_steps": (0, 1, 2),
    "eval_steps": (0, 1, 2),
    "save_steps": (0, 1, 2),
}
"""values that a parameter is varied over, to see whether it matters"""
_FIXED = frozenset({"tier", "model", "precision", "ranks", "resume_at"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Shrunk:
    """The end of a reduction.

    Attributes:
        scenario: no single simplification of it breaks the rule.
        indifferent: field to the other values that were tried and break the rule as well; the rest matters.
        minimal: False where a limit of runs or of time ended the reduction before.
        runs: scenarios that were asked about.
    """

    scenario: Scenario
    indifferent: dict[str, tuple[Any, ...]]
    minimal: bool
    runs: int

    def lines(self) -> list[str]:
        """Return one line a parameter that matters or differs from its default, with a remark where any value does."""
        shown = []
        different = self.scenario.differences()
        for name in AXIS_NAMES:
            if name in _FIXED and name not in different:
                continue
            any_value = name in self.indifferent
            if any_value and name not in different:
                continue
            if not any_value and name not in different and name not in _COUNTED:
                continue
            value = getattr(self.scenario, name)
            text = "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            remark = "  # or any other value" if any_value else ""
            shown.append(f"{name}={text}{remark}")
        return shown


_COUNTED = frozenset({"rows", "per_device_batch_size", "grad_accum", "max_steps"})


def shrink(
    scenario: Scenario, still_fails: StillFails, *, out_of_time: Callable[[], bool] = lambda: False
) -> Shrunk:
    """Reduce a scenario that breaks a rule.

    Args:
        scenario: breaks the rule.
        still_fails: whether scenarios break the same rule; is asked in batches.
        out_of_time: whether to stop; what was reached by then is returned.
    """
    oracle = _Oracle(still_fails, out_of_time)
    oracle.known[scenario] = True
    while not oracle.spent:
        simpler = oracle.first(simplifications(scenario))
        if simpler is None:
            simpler = oracle.first(_pairs(scenario))
        if simpler is None:
            break
        scenario = simpler
    minimal = oracle.first(simplifications(scenario)) is None and not oracle.spent
    indifferent = {} if oracle.spent else _indifferent(scenario, oracle)
    return Shrunk(scenario=scenario, indifferent=indifferent, minimal=minimal, runs=oracle.runs)


def simplifications(scenario: Scenario) -> Iterator[Scenario]:
    """Yield all scenarios in which one parameter is simpler, those that simplify most first.

    A word or a number that is no count becomes its default. A count becomes any smaller one (beyond 40: the
    smallest, halves, and the next smaller ones); `max_steps` may also go away.
    """
    names = [name for name in AXIS_NAMES if name not in _ORDER and name not in _FIXED]
    for name in (*names, *_ORDER):
        for value in _simpler(name, getattr(scenario, name)):
            changed = _changed(scenario, {name: value})
            if changed is not None:
                yield changed


def _simpler(name: str, value: Any) -> Iterator[Any]:
    default = getattr(_DEFAULT, name)
    simplest = _SIMPLEST.get(name, default)
    if axis_type(name) is not int:
        if value != simplest:
            yield simplest
        if name == "epochs":
            yield from (float(whole) for whole in range(1, int(value)) if whole != simplest)
        return
    if value is None or value == simplest:
        return
    if simplest is None or simplest > value:
        yield simplest
        simplest = 0
    if value <= _EVERY_VALUE:
        yield from range(simplest, value)
        return
    gap = value - simplest
    yield simplest
    while gap > 1:
        gap //= 2
        yield value - gap
    yield from (simplest + small for small in range(1, _EVERY_VALUE) if simplest + small < value)


def _pairs(scenario: Scenario) -> Iterator[Scenario]:
    """Yield scenarios in which two counts that go together are smaller."""
    rows, batch, accum = scenario.rows, scenario.per_device_batch_size, scenario.grad_accum
    for smaller in range(1, batch):
        micro_batches = -(-rows // batch)
        for fewer in {max(1, rows * smaller // batch), (micro_batches - 1) * smaller + 1}:
            if (changed := _changed(scenario, {"rows": fewer, "per_device_batch_size": smaller})) is not None:
                yield changed
    for smaller in range(1, accum):
        for fewer in {max(1, rows * smaller // accum), max(1, rows - batch * (accum - smaller))}:
            if (changed := _changed(scenario, {"rows": fewer, "grad_accum": smaller})) is not None:
                yield changed
    limit = scenario.max_steps
    for fewer_steps in range(1, min(limit or 0, _EVERY_VALUE)):
        fewer = max(1, rows * fewer_steps // (limit or 1))
        if (changed := _changed(scenario, {"rows": fewer, "max_steps": fewer_steps})) is not None:
            yield changed


def _changed(scenario: Scenario, changes: dict[str, Any]) -> Scenario | None:
    try:
        changed = scenario.with_(**changes)
    except ScenarioError:
        return None
    return changed if changed != scenario else None


def _indifferent(scenario: Scenario, oracle: _Oracle) -> dict[str, tuple[Any, ...]]:
    """Vary one parameter at a time: it does not matter where every other value that can be run breaks the rule too."""
    indifferent = {}
    for name in AXIS_NAMES:
        if name in _FIXED:
            continue
        kind: Any = axis_type(name)
        values = _OTHERS[name] if name in _OTHERS else tuple(kind.__members__.values())
        now = getattr(scenario, name)
        others = {value: _changed(scenario, {name: value}) for value in values if value != now}
        runnable = {value: changed for value, changed in others.items() if changed is not None}
        if runnable and all(oracle.all(runnable.values())):
            indifferent[name] = tuple(runnable)
    return indifferent


class _Oracle:
    """Remembers what was asked."""

    def __init__(self, still_fails: StillFails, out_of_time: Callable[[], bool]) -> None:
        self._still_fails = still_fails
        self._out_of_time = out_of_time
        self.known: dict[Scenario, bool] = {}
        self.runs = 0

    @property
    def spent(self) -> bool:
        return self.runs >= _MOST_RUNS or self._out_of_time()

    def first(self, scenarios: Iterator[Scenario]) -> Scenario | None:
        """Return the first scenario that fails."""
        while batch := list(islice(scenarios, _AT_ONCE)):
            for scenario, fails in zip(batch, self.all(batch), strict=True):
                if fails:
                    return scenario
            if self.spent:
                return None
        return None

    def all(self, scenarios: Any) -> list[bool]:
        """Return for each scenario whether it fails."""
        scenarios = list(scenarios)
        unknown = [item for item in dict.fromkeys(scenarios) if item not in self.known]
        if unknown:
            self.runs += len(unknown)
            self.known |= dict(zip(unknown, self._still_fails(unknown), strict=True))
        return [self.known[item] for item in scenarios]


_DEFAULT = Scenario()
