"""From the words of a command line to the cells of a sweep."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...scenarios import Scenario, ScenarioError, Tier, nearest
from ...scenarios.axes import parse_axes
from ...scenarios.selection import parse_selection
from ...scenarios.suites import Suite, load_suite
from ...scenarios.vocabulary import SCENARIO_VOCABULARY
from ..contract import contract_named
from ..running.engine import PlannedCell
from ..subjects import REFERENCE, Subject, SubjectError, resolve
from ..subjects.own import OwnLoop

__all__ = ["SweepPlan", "plan_sweep"]

DEFAULT_SUITE = "default"
_PREFLIGHT_SECONDS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPlan:
    """What is to be run.

    Attributes:
        suite: the scenarios, and the name for the report.
        subjects: those that are judged.
        reference: the reference, where it runs beside them without being judged itself.
        contract: a contract that overrides the subjects' own.
    """

    suite: Suite
    subjects: tuple[Subject, ...]
    reference: Subject | None
    contract: str | None

    def cells(self) -> list[PlannedCell]:
        """Return the cells, subject by subject."""
        trainers = [*self.subjects, *([self.reference] if self.reference else [])]
        return [
            PlannedCell(scenario=scenario, subject=subject)
            for subject in trainers
            for scenario in self.suite.scenarios
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
) -> SweepPlan:
    """Read the options of `run`, and refuse anything that cannot be run as written.

    Raises:
        ScenarioError, SubjectError: what is wrong, with the value and the nearest valid name.
    """
    chosen = _scenarios(suite, axes, tier)
    if select is not None:
        chosen = _selected(chosen, select)
    contract = contract or chosen.contract
    if contract is not None:
        contract_named(contract)
    names = list(dict.fromkeys(subjects)) or list(chosen.subjects)
    if not names:
        raise SubjectError(f"suite {chosen.name!r} names no subjects; add --subject NAME")
    resolved = tuple(resolve(name) for name in names)
    for subject in resolved:
        contract_named(subject.contract)
        if isinstance(subject, OwnLoop):
            _preflight(subject.name)
    return SweepPlan(
        suite=chosen,
        subjects=resolved,
        reference=resolve(REFERENCE) if with_reference and REFERENCE not in names else None,
        contract=contract,
    )


def _scenarios(suite: str | None, axes: Sequence[str], tier: str | None) -> Suite:
    parsed = parse_axes(axes)
    base: dict[str, object] = {}
    if tier is not None:
        if tier not in Tier.__members__.values() or tier == Tier.PREDICT:
            raise ScenarioError(f"unknown tier {tier!r}{nearest(tier, ('trace', 'numeric', 'gpu'))}")
        base["tier"] = Tier(tier)
    if suite is None and parsed:
        started = Suite(name="axes", title="axes of the command line", subjects=(), scenarios=(Scenario(),))
        return replace(started.crossed(parsed), subjects=("hf", "plain", "accelerate"))
    chosen = load_suite(DEFAULT_SUITE if suite is None else suite)
    return chosen.crossed(parsed) if parsed else chosen


def _selected(suite: Suite, select: str) -> Suite:
    selection = parse_selection(select, SCENARIO_VOCABULARY)
    kept = tuple(item for item in suite.scenarios if selection.matches(item.to_mapping()))
    if not kept:
        raise ScenarioError(f"--select {select!r} leaves none of the {len(suite.scenarios)} scenarios of {suite.name!r}")
    return replace(suite, name=f"{suite.name} where {selection}", scenarios=kept, axes=())


def _preflight(name: str) -> None:
    """Import a loop of one's own in a process of its own, so that a file that cannot be loaded is a usage error."""
    done = subprocess.run(  # noqa: S603  our own interpreter and module
        [sys.executable, "-P", "-m", "stepaudit.harness.subjects.preflight", name],
        capture_output=True,
        text=True,
        timeout=_PREFLIGHT_SECONDS,
        check=False,
    )
    if done.returncode == 0:
        return
    lines = done.stdout.strip().splitlines()
    try:
        message = json.loads(lines[-1])["error"]
    except (IndexError, ValueError, KeyError, TypeError):
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        message = f"subject {name!r} cannot be imported: the interpreter ended with {done.returncode}: {said}"
    raise SubjectError(message)
