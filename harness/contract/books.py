"""What a rule is handed and what it answers: the books of one cell, findings, or the reason why it cannot judge."""

from __future__ import annotations

from dataclasses import dataclass

from ...scenarios import Scenario
from ..ledger import Account, CellRecord, Claims, Curves, Replay, Resumption, account_of
from .contracts import Contract, Reduction
from .curves import observed_curves
from .expectation import Expectation, expect

__all__ = ["CellBooks", "Finding", "Findings", "NotJudged", "ReferenceRun", "draw_up", "reference_run"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceRun:
    """The reference's run of the same scenario: its curves, and the rows of every micro-batch, update by update.

    `reduction` is what its contract promises: only runs that are promised the same weights have the same curves.
    """

    reduction: Reduction
    curves: Curves
    rows: tuple[tuple[tuple[int, ...], ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CellBooks:
    """The three accounts of one cell, and what was measured beside it where it was."""

    scenario: Scenario
    contract: Contract
    observed: Account
    claimed: Claims
    expected: Expectation
    replay: Replay | None = None
    resumption: Resumption | None = None
    reference: ReferenceRun | None = None


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


def draw_up(record: CellRecord, contract: Contract, reference: ReferenceRun | None = None) -> CellBooks:
    """Draw up the books of a completed cell under a contract, beside the reference's run where there is one."""
    return CellBooks(
        scenario=record.scenario,
        contract=contract,
        observed=account_of(record.events),
        claimed=record.claims,
        expected=expect(record.scenario, contract),
        replay=record.replay,
        resumption=record.resumption,
        reference=reference,
    )


def reference_run(books: CellBooks) -> ReferenceRun:
    """Return what another subject's cell is compared with directly, where both saw the same rows in the same order."""
    return ReferenceRun(
        reduction=books.contract.reduction[books.scenario.loss_protocol],
        curves=observed_curves(books.observed, books.scenario),
        rows=tuple(tuple(item.rows for item in update.window) for update in books.observed.done),
    )
