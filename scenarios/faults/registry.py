"""The catalogue: every seeded fault with the rule that must catch it, and every correct but unusual loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from .loop import Loop

__all__ = ["FAULTS", "UNUSUAL", "Family", "Fault", "Unusual", "fault", "unusual"]


class Family(StrEnum):
    """What goes wrong (FAULTS.md's headings)."""

    TARGET = "step target"
    BOUNDARY = "epoch boundary and remainder"
    LOSS = "loss normalisation"
    GRADIENT = "gradient leak and clipping"
    SCHEDULE = "schedule"
    CLAIMS = "logging and claims"
    CADENCE = "evaluation and saving"
    PRECISION = "mixed precision"
    RESUME = "resume"
    TOKENS = "packing and token counts"
    RANKS = "several ranks"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One wrong trainer.

    Attributes:
        name: kebab-case, from the class.
        rule: the rule that must catch it.
        family: what goes wrong.
        like: where it has really happened, if it has.
        text: the fault in one sentence.
        loop: the class.
    """

    name: str
    rule: str
    family: Family
    like: str
    text: str
    loop: type[Loop]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unusual:
    """One correct trainer that does things in another way: a finding about it is a false alarm."""

    name: str
    text: str
    loop: type[Loop]


FAULTS: dict[str, Fault] = {}
UNUSUAL: dict[str, Unusual] = {}


def fault(rule: str, family: Family, like: str = "") -> Callable[[type[Loop]], type[Loop]]:
    """Enter a loop as a seeded fault; its docstring says what is wrong."""

    def enter(loop: type[Loop]) -> type[Loop]:
        name = _kebab(loop.__name__)
        FAULTS[name] = Fault(name=name, rule=rule, family=family, like=like, text=_text(loop), loop=loop)
        return loop

    return enter


def unusual(loop: type[Loop]) -> type[Loop]:
    """Enter a loop as correct but unusual; its docstring says how."""
    name = _kebab(loop.__name__)
    UNUSUAL[name] = Unusual(name=name, text=_text(loop), loop=loop)
    return loop


def _kebab(name: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")


def _text(loop: type[Loop]) -> str:
    return (loop.__doc__ or "").strip().splitlines()[0]
