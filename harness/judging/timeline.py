"""The history of a package's accounting: one row a release, one cell a scenario, judged by one contract."""

from __future__ import annotations

import math
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..contract import CellBooks, Contract, draw_up
from ..contract.reduction import window_weights
from ..ledger import CellRecord, Outcome, Update
from .cells import judge_cell
from .verdict import CellOutcome

__all__ = ["ACCOUNTING", "Pair", "Timeline", "TimelineCell", "TimelineRow", "timeline_cell"]

Pair = Literal["of its time", "asked for"]

_LARGEST_SCALE = 64
_NEAR = 1e-4
"""far above the error of a projection (design/numeric.md), far below the step from one such number to the next"""

ACCOUNTING = frozenset(
    {
        "target",
        "claim",
        "plan",
        "window",
        "remainder",
        "coverage",
        "weight",
        "leak",
        "schedule",
        "clip",
        "resume",
    }
)
"""the rules about what is trained on and how; what is only said about it (log, eval, tokens, …) is told beside them"""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="strings")


class TimelineCell(_Model):
    """One release in one scenario."""

    label: str = Field(description="the scenario, for people")
    scenario: dict[str, Any]
    outcome: CellOutcome = Field(description="by the rules of accounting alone")
    windows: list[int] = Field(default_factory=list, description="micro-batches of each optimizer step (W)")
    updates_due: int | None = None
    rows: int | None = Field(default=None, description="rows that entered an optimizer step")
    rows_due: int | None = None
    ratio_least: float | None = Field(
        default=None,
        description="the least weight of a row in an optimizer step, over what the contract gives it",
    )
    ratio_most: float | None = None
    scales: list[str] = Field(
        default_factory=list,
        description="how large the gradients of the optimizer steps are over what the contract gives them: 1, 2, 1/2; "
        "~ for what is no such number, and depends on which rows a window has",
    )
    rules: list[str] = Field(default_factory=list, description="rules of accounting that are broken")
    further: list[str] = Field(default_factory=list, description="other rules that are broken")
    reason: str = Field(default="", description="why it is not judged")

    @property
    def signature(self) -> tuple[object, ...]:
        """What is the same where two releases train alike in this scenario, in whatever order the rows come."""
        scales = ("~",) if "~" in self.scales else tuple(self.scales)
        return (self.outcome, tuple(self.windows), self.rows, scales, tuple(self.rules), self.reason)


class TimelineRow(_Model):
    """One release with what it ran with."""

    release: str
    subject: str
    pair: Pair = Field(description="whose companions: those of its time, or named ones")
    packages: dict[str, str]
    cells: list[TimelineCell]


class Timeline(_Model):
    """A whole timeline, as written to `timeline.json`."""

    schema_version: Literal[1] = 1
    package: str
    contract: str
    contract_title: str
    command: str
    packages: dict[str, str] = Field(description="what all rows share")
    rows: list[TimelineRow]


def timeline_cell(record: CellRecord, contract: Contract) -> TimelineCell:
    """Return what a record shows, judged by the contract."""
    verdict = judge_cell(record, contract, (), today=date.min).verdict
    label, scenario = record.scenario.label, record.scenario.to_mapping()
    if record.outcome is not Outcome.COMPLETED:
        reason = verdict.error.message if verdict.error else verdict.reason
        return TimelineCell(label=label, scenario=scenario, outcome=verdict.verdict, reason=reason)
    broken = list(dict.fromkeys(deviation.rule for deviation in verdict.deviations))
    rules = [rule for rule in broken if rule in ACCOUNTING]
    books = draw_up(record, contract)
    least, most = _ratios(books)
    return TimelineCell(
        label=label,
        scenario=scenario,
        outcome=CellOutcome.DEVIATES if rules else CellOutcome.CONFORMS,
        windows=list(books.observed.windows),
        updates_due=books.expected.optimizer_steps,
        rows=sum(len(micro_batch.rows) for update in books.observed.done for micro_batch in update.window),
        rows_due=_rows_due(books),
        ratio_least=least,
        ratio_most=most,
        scales=sorted(
            {_scale(books, update) for update in books.observed.done if update.weights is not None}
        ),
        rules=rules,
        further=[rule for rule in broken if rule not in ACCOUNTING],
    )


def _ratios(books: CellBooks) -> tuple[float | None, float | None]:
    """Return the least and the greatest weight of a row over what the contract gives it, over all updates."""
    ratios = [
        (update.weights or {}).get(row, 0.0) / due
        for update in books.observed.done
        if update.weights is not None
        for row, due in window_weights(books.contract, books.scenario, update).items()
    ]
    return (min(ratios), max(ratios)) if ratios else (None, None)


def _rows_due(books: CellBooks) -> int:
    """Return how many rows the expected micro-batches hold, all of them full but the last of an epoch."""
    terms, micro_batches = books.expected.terms, books.expected.micro_batches
    epochs, rest = divmod(micro_batches, max(terms.M, 1))
    in_epoch = min(terms.rows, terms.M * terms.B * terms.R)
    return epochs * in_epoch + rest * terms.B * terms.R


def _scale(books: CellBooks, update: Update) -> str:
    """Return the size of an update's gradient over what the contract gives it, all its label tokens together."""
    shares = (share for micro_batch in update.window for share in micro_batch.shares)
    tokens = {row: count for share in shares for row, count in share.row_tokens}
    due = window_weights(books.contract, books.scenario, update)
    whole = sum(weight * tokens[row] for row, weight in due.items())
    own = sum((update.weights or {}).get(row, 0.0) * tokens[row] for row in due)
    if not whole:
        return "1"
    ratio = own / whole
    for number in range(1, _LARGEST_SCALE + 1):
        if math.isclose(ratio, number, rel_tol=_NEAR):
            return str(number)
        if math.isclose(ratio, 1 / number, rel_tol=_NEAR):
            return f"1/{number}"
    return "~"
