"""What a report shows besides the verdict, if somebody has it: earlier runs, and what subjects can be asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NO_EXTRAS", "Asked", "Change", "Extras", "Past", "changes_between", "since_text"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """One rule under one subject in one earlier run: cells that broke it, of those that it judged."""

    started: str
    commit: str | None
    checked: int
    deviating: int

    @property
    def name(self) -> str:
        """`2026-11-20T02:11:09+00:00 (commit 0123456789ab)`."""
        return self.started + (f" (commit {self.commit[:12]})" if self.commit else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What one subject gives where one feature is asked for.

    Attributes:
        feature: of scenarios, for people.
        reason: why it is unsupported; empty where it is audited.
        known: ids and upstream reports of the deviations that are known there.
    """

    feature: str
    reason: str = ""
    known: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Extras:
    """Plain data from outside the run.

    Attributes:
        capabilities: subject to every feature in the same order; subjects that cannot be asked are not there.
        history: (rule, subject) to how it stood in earlier runs, the oldest first.
        baseline: package to version in the run that this one is compared with; None where there is none.
        baseline_name: which run that is, for people.
    """

    capabilities: Mapping[str, tuple[Asked, ...]] = field(default_factory=dict)
    history: Mapping[tuple[str, str], tuple[Past, ...]] = field(default_factory=dict)
    baseline: Mapping[str, str] | None = None
    baseline_name: str = ""


NO_EXTRAS = Extras()


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One package that is not as it was; None where it was not there at all."""

    name: str
    before: str | None
    now: str | None


def changes_between(before: Mapping[str, str], now: Mapping[str, str]) -> list[Change]:
    """Return what differs between the packages of two runs, by name."""
    names = sorted({*before, *now})
    pairs = [Change(name=name, before=before.get(name), now=now.get(name)) for name in names]
    return [change for change in pairs if change.before != change.now]


def since_text(past: tuple[Past, ...]) -> str:
    """Say since when a rule that is broken now has been broken in the runs before; empty without any."""
    if not past:
        return ""
    broken = 0
    for point in reversed(past):
        if not point.deviating:
            break
        broken += 1
    if not broken:
        return f"new in this run: it held in the run before, {past[-1].name}"
    first = past[-broken]
    if broken == len(past):
        return f"in every run of the history, since {first.name}"
    return f"in the last {broken + 1} runs, since {first.name}; it held in {past[-broken - 1].name}"
