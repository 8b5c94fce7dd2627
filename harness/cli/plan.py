"""From the words of a command line to the cells of a sweep."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...scenarios import ModelKind, Scenario, ScenarioError, Tier, nearest
from ...scenarios.axes import parse_axes
from ...scenarios.museum import Museum, load_museum, museum_path
from ...scenarios.selection import parse_selection
from ...scenarios.suites import Suite, load_suite
from ...scenarios.sweep import distinct
from ...scenarios.vocabulary import SCENARIO_VOCABULARY
from ..contract import RULES, contract_named
from ..running.environment import default_cache
from ..running.plan import PlannedCell
from ..running.resolution import completed
from ..subjects import REFERENCE, Subject, SubjectError, resolve, suited
from ..subjects.own import OwnLoop
from .laying import laid

__all__ = ["SweepPlan", "choose_scenarios", "plan_sweep"]

DEFAULT_SUITE = "default"
_MODELS = {
    Tier.TRACE: (ModelKind.TRACER,),
    Tier.NUMERIC: (ModelKind.TINY_LLAMA, ModelKind.TINY_LLAMA_LORA, ModelKind.LLAMA),
    Tier.GPU: (ModelKind.LLAMA, ModelKind.TINY_LLAMA, ModelKind.TINY_LLAMA_LORA),
}
"""the models that go with each tier; the first stands in for one that does not"""
_PREFLIGHT_SECONDS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPlan:
    """What is to be run.

    Attributes:
        suite: the scenarios, and the name for the report.
        subjects: those that are judged.
        reference: the reference, where it runs beside them without being judged itself.
        contract: a contract that overrides the subjects' own.
        museum: where the suite is a museum, its exhibits: they say which subject runs which scenario.
    """

    suite: Suite
    subjects: tuple[Subject, ...]
    reference: Subject | None
    contract: str | None
    museum: Museum | None = None

    def cells(self) -> list[PlannedCell]:
        """Return the cells, subject by subject."""
        trainers = [*self.subjects, *([self.reference] if self.reference else [])]
        return [
            PlannedCell(scenario=suited(subject, scenario), subject=subject)
            for subject in trainers
            for scenario in self.suite.scenarios
            if self.museum is None or self.museum.pairs(subject.name, scenario)
        ]


def plan_sweep(
    *,
    suite: str | None,
    subjects: Sequence[str],
    axes: Sequence[str],
    select: str | None,
    tier: str | None,
    contract: str | None,
    with_reference: bool,
    releases: Sequence[str] = (),
) -> SweepPlan:
    """Read the options of `run`, and refuse anything that cannot be run as written.

    Raises:
        ScenarioError, SubjectError: what is wrong, with the value and the nearest valid name.
    """
    if suite is not None and (path := museum_path(suite)) is not None:
        idle = {
            "--axis": axes,
            "--select": select,
            "--tier": tier,
            "--contract": contract,
            "--with": releases,
        }
        for option, value in idle.items():
            if value:
                raise ScenarioError(
                    f"{option} does not go with a museum: its exhibits say what runs with what"
                )
        return _museum_plan(load_museum(path, rules=RULES), subjects)
    chosen = choose_scenarios(suite, axes=axes, tier=tier, select=select)
    contract = contract or chosen.contract
    if contract is not None:
        contract_named(contract)
    names = list(dict.fromkeys(subjects)) or list(chosen.subjects)
    if not names:
        raise SubjectError(f"suite {chosen.name!r} names no subjects; add --subject NAME")
    names = laid(names, releases)
    resolved = tuple(completed(resolve(name), default_cache()) for name in names)
    for subject in resolved:
        contract_named(subject.contract)
    own = [
        subject.name for subject in resolved if isinstance(subject, OwnLoop) and subject.environment is None
    ]
    if own and _trouble(own):  # together in one process, and one by one only to say whose fault it is
        for name in own:
            if trouble := _trouble([name]):
                raise SubjectError(trouble)
    return SweepPlan(
        suite=chosen,
        subjects=resolved,
        reference=resolve(REFERENCE) if with_reference and REFERENCE not in names else None,
        contract=contract,
    )


def _museum_plan(museum: Museum, names: Sequence[str]) -> SweepPlan:
    chosen = museum.of(names) if names else museum
    suite = chosen.suite()
    resolved = tuple(completed(resolve(name), default_cache()) for name in suite.subjects)
    for item in chosen.exhibits:
        if item.contract is not None:
            contract_named(item.contract)
    return SweepPlan(suite=suite, subjects=resolved, reference=None, contract=None, museum=chosen)


def choose_scenarios(
    suite: str | None, *, axes: Sequence[str] = (), tier: str | None = None, select: str | None = None
) -> Suite:
    """Return the scenarios that a suite, axes, a tier and a selection stand for.

    Raises:
        ScenarioError: what is wrong, with the value and the nearest valid name.
    """
    chosen = _scenarios(suite, axes, tier)
    return chosen if select is None else _selected(chosen, select)


def _scenarios(suite: str | None, axes: Sequence[str], tier: str | None) -> Suite:
    parsed = parse_axes(axes)
    asked = _tier_named(tier)
    if suite is None and parsed:
        started = Suite(name="axes", title="axes of the command line", subjects=(), scenarios=(Scenario(),))
        return replace(_in_tier(started, asked).crossed(parsed), subjects=("hf", "plain", "accelerate"))
    chosen = _in_tier(load_suite(_default_suite(asked) if suite is None else suite), asked)
    return chosen.crossed(parsed) if parsed else chosen


def _default_suite(tier: Tier | None) -> str:
    return "numeric" if tier is Tier.NUMERIC else DEFAULT_SUITE


def _tier_named(tier: str | None) -> Tier | None:
    if tier is None:
        return None
    if tier not in _MODELS:
        raise ScenarioError(f"unknown tier {tier!r}{nearest(tier, [item.value for item in _MODELS])}")
    return Tier(tier)


def _in_tier(suite: Suite, tier: Tier | None) -> Suite:
    """Return the suite with every scenario in this tier; a model of another tier gives way."""
    if tier is None:
        return suite
    fitting = _MODELS[tier]
    scenarios, _ = distinct(
        item.with_(tier=tier, model=item.model if item.model in fitting else fitting[0])
        for item in suite.scenarios
    )
    axes = tuple(axis for axis in suite.axes if axis.name not in {"tier", "model"})
    return replace(suite, scenarios=scenarios, axes=axes)


def _selected(suite: Suite, select: str) -> Suite:
    selection = parse_selection(select, SCENARIO_VOCABULARY)
    kept = tuple(item for item in suite.scenarios if selection.matches(item.to_mapping()))
    if not kept:
        raise ScenarioError(
            f"--select {select!r} leaves none of the {len(suite.scenarios)} scenarios of {suite.name!r}"
        )
    return replace(suite, name=f"{suite.name} where {selection}", scenarios=kept, axes=())


def _trouble(names: list[str]) -> str | None:
    """Import loops in a process of their own, so that a file that cannot be loaded is a usage error; return why not."""
    command = [sys.executable, "-P", "-m", "stepaudit.harness.subjects.preflight", *names]
    try:
        done = subprocess.run(  # noqa: S603  our own interpreter and module
            command, capture_output=True, text=True, timeout=_PREFLIGHT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"subject {names[0]!r} cannot be imported: that took longer than {_PREFLIGHT_SECONDS} s"
    if done.returncode == 0:
        return None
    try:
        return str(json.loads(done.stdout.strip().splitlines()[-1])["error"])
    except (IndexError, ValueError, KeyError, TypeError):
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return (
            f"subject {names[0]!r} cannot be imported: the interpreter ended with {done.returncode}: {said}"
        )
