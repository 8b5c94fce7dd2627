"""What a rule is handed and what it answers: the books of one cell, findings, or the reason why it cannot judge."""

from __future__ import annotations

from dataclasses import dataclass

from ...scenarios import Scenario
from ..ledger import Account, CellRecord, Claims, account_of
from .contracts import Contract
from .expectation import Expectation, expect

__all__ = ["CellBooks", "Finding", "Findings", "NotJudged", "draw_up"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CellBooks:
    """The three accounts of one cell."""

    scenario: Scenario
    contract: Contract
    observed: Account
    claimed: Claims
    expected: Expectation


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One broken rule: what the contract predicts, what was found, and where the books part.

    Attributes:
        expected: with its unit, e.g. `350 optimizer steps`.
        got: the same way.
        formula: with numbers filled in.
        event: position in the ledger of the first event that differs; None where an event is missing.
        update: 1-based optimizer step concerned, if one is.
        text: what that event is.
        value: the wrong number, where the rule compares numbers (for `weight` the ratio to what it should be), so
            that a known deviation can pin it. `due` is the right one.
    """

    expected: str
    got: str
    formula: str
    event: int | None
    update: int | None
    text: str
    value: float | None = None
    due: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NotJudged:
    """A rule that this cell gives nothing to judge by."""

    reason: str


Findings = list[Finding] | NotJudged


def draw_up(record: CellRecord, contract: Contract) -> CellBooks:
    """Draw up the books of a completed cell under a contract."""
    return CellBooks(
        scenario=record.scenario,
        contract=contract,
        observed=account_of(record.events),
        claimed=record.claims,
        expected=expect(record.scenario, contract),
    )
