"""How a cell stands, as a word, a shape and a colour: the same in every report."""

from __future__ import annotations

from dataclasses import dataclass

from ..harness.judging.verdict import CellOutcome, CellVerdict, Standing, Verdict, VerdictOutcome
from .text import DASH

__all__ = ["STATUSES", "Status", "cell_status", "outcome_status", "standing_status", "worst"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """One way to stand.

    Attributes:
        key: short identifier, also the CSS class and the word that the search box takes.
        word: for people.
        shape: one character that every common font has and none draws as an emoji.
        ascii: the same on a terminal without Unicode.
        style: rich style.
        light: colour on a light ground; contrast at least 4.5 to it.
        dark: the same on a dark ground.
    """

    key: str
    word: str
    shape: str
    ascii: str
    style: str
    light: str
    dark: str


STATUSES: dict[str, Status] = {
    status.key: status
    for status in (
        Status(
            key="new", word="new", shape="✗", ascii="x", style="bold red", light="#b3261e", dark="#ff8a80"
        ),
        Status(
            key="drifted",
            word="drifted",
            shape="▲",
            ascii="^",
            style="bold red",
            light="#b3261e",
            dark="#ff8a80",
        ),
        Status(
            key="expired",
            word="expired",
            shape="■",
            ascii="#",
            style="bold red",
            light="#b3261e",
            dark="#ff8a80",
        ),
        Status(
            key="flaky",
            word="flaky",
            shape="≈",
            ascii="~",
            style="bold magenta",
            light="#6941a5",
            dark="#c4a7f5",
        ),
        Status(
            key="error",
            word="not judged",
            shape="?",
            ascii="?",
            style="bold yellow",
            light="#8a5200",
            dark="#f2b84b",
        ),
        Status(
            key="stale", word="stale", shape="○", ascii="o", style="bold red", light="#b3261e", dark="#ff8a80"
        ),
        Status(
            key="informational",
            word="informational",
            shape="◇",
            ascii="i",
            style="yellow",
            light="#6b5d00",
            dark="#d9c95a",
        ),
        Status(
            key="known", word="known", shape="◆", ascii="*", style="yellow", light="#6b5d00", dark="#d9c95a"
        ),
        Status(
            key="conforms",
            word="conforms",
            shape="✓",
            ascii="+",
            style="green",
            light="#1a6b3c",
            dark="#6fcf97",
        ),
        Status(
            key="unsupported",
            word="unsupported",
            shape=DASH,
            ascii="-",
            style="dim",
            light="#59616d",
            dark="#9aa5b3",
        ),
    )
}
"""every status, worst first"""

_RANK = {key: rank for rank, key in enumerate(STATUSES)}


def standing_status(standing: Standing) -> Status:
    """Return the status of a deviation that stands like this."""
    return STATUSES[standing.value]


def worst(statuses: list[Status]) -> Status:
    """Return the worst of at least one status."""
    return min(statuses, key=lambda status: _RANK[status.key])


def cell_status(cell: CellVerdict) -> Status:
    """Return the one status of a cell; of several deviations the worst counts."""
    if cell.verdict is CellOutcome.DEVIATES:
        return worst(
            [standing_status(deviation.standing) for deviation in cell.deviations] or [STATUSES["new"]]
        )
    return STATUSES[cell.verdict.value]


def outcome_status(verdict: Verdict) -> Status:
    """Return the status whose shape and colour stand for the whole run."""
    if verdict.outcome is VerdictOutcome.PASSED:
        return STATUSES["conforms"]
    return STATUSES["new"] if verdict.outcome is VerdictOutcome.VIOLATED else STATUSES["error"]
