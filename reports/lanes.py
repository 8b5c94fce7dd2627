"""The events of a cell as one letter each, for the lanes of its page: those around the first divergence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..harness.ledger import (
    Backward,
    Clipped,
    EpochBegan,
    Evaluated,
    Event,
    Forward,
    GradsZeroed,
    Interrupted,
    Logged,
    OptimizerStep,
    Saved,
    SchedulerStep,
    Stopped,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LANE_LETTERS", "Lanes", "lanes_of"]

BEFORE, AFTER = 420, 180
"""events shown before and after the one at which the books part"""

LANE_LETTERS: dict[type, str] = {
    EpochBegan: "p",
    Forward: "f",
    Backward: "b",
    Clipped: "n",
    OptimizerStep: "o",
    SchedulerStep: "s",
    GradsZeroed: "z",
    Logged: "l",
    Saved: "c",
    Evaluated: "e",
    Interrupted: "i",
    Stopped: "t",
}
"""a letter an event; rows that are fetched and evaluation forwards have none, a suppressed optimizer step is `x`"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lanes:
    """A stretch of a ledger.

    Attributes:
        letters: one an event, in order.
        first: how many events of the lanes come before the stretch; `total` all of them.
        updates: optimizer steps before the stretch.
        mark: position in `letters` of the first divergence; its length where an event is missing there; None where it
            lies elsewhere.
    """

    letters: str
    first: int
    total: int
    updates: int
    mark: int | None


def lanes_of(
    events: Sequence[Event], divergence: int | None, *, missing: bool = False, first: int | None = None
) -> Lanes:
    """Return the stretch around an event.

    Args:
        events: the ledger.
        divergence: position of the event in it.
        missing: whether the books part because an event does not come: then at the end.
        first: where the stretch begins, to lay two cells beside each other.
    """
    letters = [(position, _letter(event)) for position, event in enumerate(events)]
    kept = [(position, letter) for position, letter in letters if letter]
    mark = None
    if divergence is not None:
        mark = next((at for at, (position, _) in enumerate(kept) if position >= divergence), None)
    elif missing:
        mark = len(kept)
    begin = max(0, (mark or 0) - BEFORE) if first is None else min(first, len(kept))
    end = min(len(kept), max((mark or 0) + AFTER, begin + BEFORE + AFTER))
    text = "".join(letter for _, letter in kept)
    return Lanes(
        letters=text[begin:end],
        first=begin,
        total=len(kept),
        updates=text[:begin].count("o"),
        mark=None if mark is None or not begin <= mark <= end else mark - begin,
    )


def _letter(event: Event) -> str:
    if isinstance(event, Forward):
        return "f" if event.micro_batch >= 0 else ""
    if isinstance(event, OptimizerStep) and event.suppressed:
        return "x"
    return LANE_LETTERS.get(type(event), "")
