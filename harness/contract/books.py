"""What a rule is handed and what it answers: the books of one cell, findings, or the reason why it cannot judge."""

from __future__ import annotations

from dataclasses import dataclass

from ...scenarios import Scenario
from ..ledger import Account, CellRecord, Claims, Curves, Replay, Resumption, account_of, union_of
from .contracts import Contract, Reduction
from .curves import observed_curves
from .expectation import Expectation, expect

__all__ = [
    "CellBooks",
    "Finding",
    "Findings",
    "NotJudged",
    "RankBooks",
    "ReferenceRun",
    "draw_up",
    "reference_run",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceRun:
    """The reference's run of the same scenario: its curves, and the rows of every micro-batch, update by update.

    `reduction` is what its contract promises: only runs that are promised the same weights have the same curves.
    """

    reduction: Reduction
    curves: Curves
    rows: tuple[tuple[tuple[int, ...], ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RankBooks:
    """What one rank did and claims, where there are several; `parameter_distance` is that of its record."""

    rank: int
    account: Account
    claimed: Claims
    parameter_distance: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CellBooks:
    """The three accounts of one cell, and what was measured beside it where it was.

    Over several ranks `observed` is what all of them did together, `claimed` what rank 0 says, and `ranks` has each
    rank's own account; on one rank `ranks` is empty.
    """

    scenario: Scenario
    contract: Contract
    observed: Account
    claimed: Claims
    expected: Expectation
    replay: Replay | None = None
    resumption: Resumption | None = None
    reference: ReferenceRun | None = None
    ranks: tuple[RankBooks, ...] = ()

    @property
    def curves(self) -> Curves:
        """Loss, gradient norm and rate of every update that ran."""
        return observed_curves(self.observed, self.scenario, self.replay.exact.losses if self.replay else ())


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One broken rule: what the contract predicts, what was found, and where the books part.

    Attributes:
        expected: with its unit, e.g. `350 optimizer steps`.
        got: the same way.
        formula: with numbers filled in.
        event: position in the ledger (of rank 0) of the first event that differs; None where an event is missing.
        update: 1-based optimizer step concerned, if one is.
        text: what that event is.
        value: the wrong number, where the rule compares numbers (for `weight` the ratio to what it should be), so
            that a known deviation can pin it. `due` is the right one.
        within: how exactly that number is known, as a share of it; 0 for counts.
    """

    expected: str
    got: str
    formula: str
    event: int | None
    update: int | None
    text: str
    value: float | None = None
    due: float | None = None
    within: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class NotJudged:
    """A rule that this cell gives nothing to judge by."""

    reason: str


Findings = list[Finding] | NotJudged


def draw_up(record: CellRecord, contract: Contract, reference: ReferenceRun | None = None) -> CellBooks:
    """Draw up the books of a completed cell under a contract, beside the reference's run where there is one."""
    ranks = _ranks(record) if record.others else ()
    return CellBooks(
        scenario=record.scenario,
        contract=contract,
        observed=union_of([rank.account for rank in ranks]) if ranks else account_of(record.events),
        claimed=record.claims,
        expected=expect(record.scenario, contract),
        replay=record.replay,
        resumption=record.resumption,
        reference=reference,
        ranks=ranks,
    )


def _ranks(record: CellRecord) -> tuple[RankBooks, ...]:
    return (
        RankBooks(rank=0, account=account_of(record.events), claimed=record.claims, parameter_distance=0.0),
        *(
            RankBooks(
                rank=other.rank,
                account=account_of(other.events),
                claimed=other.claims,
                parameter_distance=other.parameter_distance,
            )
            for other in record.others
        ),
    )


def reference_run(books: CellBooks) -> ReferenceRun:
    """Return what another subject's cell is compared with directly, where both saw the same rows in the same order."""
    return ReferenceRun(
        reduction=books.contract.reduction[books.scenario.loss_protocol],
        curves=books.curves,
        rows=tuple(tuple(item.rows for item in update.window) for update in books.observed.done),
    )
