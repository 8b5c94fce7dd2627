"""Fuzzing: hypothesis draws scenarios near the boundaries of step arithmetic, findings are told apart and shrunk."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from ...scenarios import DatasetKind, Scenario
from ..contract import RULES, Contract
from .drawing import boundary_scenarios
from .fuzz_records import Broken, FuzzFinding, FuzzResult
from .shrinking import Shrunk, shrink, simplifications

__all__ = ["FuzzOptions", "Verdicts", "fuzz"]

_RULE_ORDER = list(RULES)
"""from cause to consequence"""
_A_ROUND = 60
"""scenarios that hypothesis draws before findings are looked at"""
_AT_ONCE = 20
_LOOKING_AROUND = 0.3
"""share of the budget before anything is reduced: what is simplest to reduce may come late"""
_SEARCHING = 0.75
"""share of the budget in which new scenarios are drawn"""
_OVERSHOOT = 1.25
"""reductions may take a quarter of the budget beyond it"""


Verdicts = Callable[[Sequence[Scenario]], Sequence[tuple[Broken, ...] | None]]
"""runs scenarios and says which rules each breaks; None where a cell was declined, crashed or hung"""


@dataclass(frozen=True, kw_only=True, slots=True)
class FuzzOptions:
    """How long and what.

    Attributes:
        budget_s: wall time.
        seed: of the drawing; the same seed draws the same scenarios.
        rule: look at this rule only.
    """

    budget_s: float = 60.0
    seed: int = 0
    rule: str | None = None


def fuzz(
    verdicts: Verdicts,
    *,
    contract: Contract,
    supports: Callable[[Scenario], str | None],
    options: FuzzOptions,
    examples: Sequence[Scenario] = (),
    on_finding: Callable[[FuzzFinding], None] = lambda _: None,
) -> FuzzResult:
    """Search until the budget is spent, and reduce every fault that shows.

    Args:
        verdicts: runs and judges scenarios.
        contract: of the subject.
        supports: why the subject cannot run a scenario, or None.
        options: budget, seed, rule.
        examples: scenarios to begin with, those that an earlier fuzz has kept.
        on_finding: is told each finding when it is reduced.
    """
    search = _Fuzz(verdicts, contract, supports, options, on_finding)
    search.explore(examples)
    number = 0
    while not search.out_of_time(_SEARCHING):
        search.explore_drawn(options.seed * 1_000_003 + number)
        number += 1
        if search.out_of_time(_LOOKING_AROUND):
            search.reduce()
    search.reduce()
    return search.result()


class _Fuzz:
    def __init__(
        self,
        verdicts: Verdicts,
        contract: Contract,
        supports: Callable[[Scenario], str | None],
        options: FuzzOptions,
        on_finding: Callable[[FuzzFinding], None],
    ) -> None:
        self._verdicts = verdicts
        self._contract = contract
        self._supports = supports
        self._options = options
        self._on_finding = on_finding
        self._began = time.monotonic()
        self._result = FuzzResult()
        self._cells: dict[Scenario, tuple[Broken, ...] | None] = {}
        self._waiting: dict[tuple[str, str, str | None], Scenario] = {}
        self._reduced: list[tuple[Broken, Shrunk, Scenario]] = []

    def out_of_time(self, share: float = 1.0) -> bool:
        """Return whether this share of the budget is spent."""
        return time.monotonic() - self._began > share * self._options.budget_s

    def explore(self, scenarios: Sequence[Scenario]) -> None:
        """Run scenarios and remember what they break."""
        fresh = [
            item
            for item in dict.fromkeys(scenarios)
            if item not in self._cells and self._supports(item) is None
        ]
        for scenario, broken in zip(fresh, self._judged(fresh), strict=True):
            self._result.scenarios += 1
            self._result.not_run += broken is None
            for item in broken or ():
                key = (item.rule, item.way, item.known)
                if key not in self._waiting and not self._is_explained(item, scenario):
                    self._waiting[key] = scenario

    def explore_drawn(self, number: int) -> None:
        """Let hypothesis draw a round of scenarios, and run them."""

        @seed(number)
        @settings(
            max_examples=_A_ROUND,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )
        @given(scenario=boundary_scenarios(contract=self._contract, supports=self._supports))
        def draw(scenario: Scenario) -> None:
            drawn[scenario] = None

        drawn: dict[Scenario, None] = {}
        draw()
        scenarios = list(drawn)
        for first in range(0, len(scenarios), _AT_ONCE):
            if not self.out_of_time(_SEARCHING):
                self.explore(scenarios[first : first + _AT_ONCE])

    def reduce(self) -> None:
        """Shrink what is waiting; what the budget leaves no time for is kept as it is."""
        for key, scenario in sorted(self._waiting.items(), key=self._urgency):
            broken = self._broken(scenario, *key)
            if broken is None or self._is_explained(broken, scenario):
                continue
            if self.out_of_time(_OVERSHOOT):
                self._result.cut_short.append((broken, scenario))
                continue
            self._reduce_one(broken, scenario)
        self._waiting.clear()

    def _urgency(self, item: tuple[tuple[str, str, str | None], Scenario]) -> tuple[bool, bool, int]:
        """Causes before consequences; what has no end, or no length and simplifications without an end, costs most."""
        (rule, _, _), scenario = item
        endless = any(broken.way == "no end" for broken in self._cells[scenario] or ())
        return endless, scenario.dataset is DatasetKind.ITERABLE, _RULE_ORDER.index(rule)

    def result(self) -> FuzzResult:
        """Count, sort and return."""
        result = self._result
        result.seconds = time.monotonic() - self._began
        return result

    def _reduce_one(self, broken: Broken, scenario: Scenario) -> None:
        """Shrink while the same fault shows, and see whether something simpler breaks the same rule in another way."""

        def shows(items: Sequence[Scenario]) -> list[bool]:
            return [self._shows(item, broken) for item in self._after(items)]

        shrunk = shrink(scenario, shows, out_of_time=self._late)
        is_double = any(
            other.rule == broken.rule and item.scenario == shrunk.scenario for other, item, _ in self._reduced
        )
        self._reduced.append((broken, shrunk, scenario))
        if is_double:
            return
        now = self._broken(shrunk.scenario, broken.rule, broken.way, broken.known) or broken
        simpler = [
            self._cells.get(item) or () for item in simplifications(shrunk.scenario)
        ]  # the shrinker ran them
        finding = FuzzFinding(
            broken=now,
            shrunk=shrunk,
            first=scenario,
            also=tuple(item for item in self._cells[shrunk.scenario] or () if item.rule != now.rule),
            seen=sum(self._shows(item, broken) for item in self._cells),
            other_way=any(item.rule == now.rule for found in simpler for item in found),
        )
        self._result.findings.append(finding)
        self._on_finding(finding)

    def _late(self) -> bool:
        return self.out_of_time(_OVERSHOOT)

    def _is_explained(self, broken: Broken, scenario: Scenario) -> bool:
        """Return whether an earlier finding is this one: the same entry, or the same way with the same words.

        What the reduced scenario of another rule shows as well is a consequence of that one.
        """
        for other, shrunk, _ in self._reduced:
            if broken.known is not None and self._shows(shrunk.scenario, broken):
                return True
            if (
                broken.known is None
                and self._shows(shrunk.scenario, broken)
                and self._has_words(scenario, shrunk)
            ):
                return True
            if other.rule != broken.rule or other.known != broken.known:
                continue
            if other.known is not None:
                return True
            if other.way == broken.way and self._has_words(scenario, shrunk):
                return True
        return False

    def _has_words(self, scenario: Scenario, shrunk: Shrunk) -> bool:
        return all(getattr(scenario, name) == value for name, value in _words(shrunk).items())

    def _after(self, scenarios: Sequence[Scenario]) -> Sequence[Scenario]:
        self._judged([item for item in scenarios if item not in self._cells])
        return scenarios

    def _judged(self, scenarios: Sequence[Scenario]) -> list[tuple[Broken, ...] | None]:
        runnable = [item for item in scenarios if self._supports(item) is None]
        self._cells |= dict.fromkeys(scenarios)
        if runnable:
            self._cells |= dict(zip(runnable, map(self._of_interest, self._verdicts(runnable)), strict=True))
        return [self._cells[item] for item in scenarios]

    def _of_interest(self, broken: tuple[Broken, ...] | None) -> tuple[Broken, ...] | None:
        wanted = self._options.rule
        if broken is None or wanted is None:
            return broken
        return tuple(item for item in broken if item.rule == wanted)

    def _shows(self, scenario: Scenario, broken: Broken) -> bool:
        return self._broken(scenario, broken.rule, broken.way, broken.known) is not None

    def _broken(self, scenario: Scenario, rule: str, way: str, known: str | None) -> Broken | None:
        for item in self._cells.get(scenario) or ():
            if item.rule == rule and item.known == known and (known is not None or item.way == way):
                return item
        return None


def _words(shrunk: Shrunk) -> Mapping[str, object]:
    """Return the fields of a reduced scenario that are words, or no counts, and matter."""
    words = {name: getattr(shrunk.scenario, name) for name in _SORTS if name not in shrunk.indifferent}
    if shrunk.scenario.max_steps == 0:
        words["max_steps"] = 0
    return words


_SORTS = ("dataset", "loss_protocol", "drop_last", "first_label", "lengths", "lr_schedule", "optimizer")
