"""Ledgers written by hand: windows of rows with their label tokens, and whatever else a test wants to be wrong."""

from __future__ import annotations

from collections.abc import Sequence

from stepaudit.harness.contract import CONTRACTS, RULES, CellBooks, Finding, NotJudged, draw_up
from stepaudit.harness.ledger import (
    Backward,
    CellRecord,
    Claims,
    EpochBegan,
    Forward,
    OptimizerStep,
    Outcome,
    SchedulerStep,
)
from stepaudit.scenarios import Scenario

__all__ = ["books", "finding", "micro_batch", "one_row_updates", "reason", "update"]

PLAIN = {
    "per_device_batch_size": 1,
    "lr_schedule": "constant",
    "max_grad_norm": 0.0,
    "logging_steps": 0,
    "lengths": "equal",
}


def micro_batch(
    number: int,
    rows: Sequence[int],
    tokens: Sequence[int] | None = None,
    *,
    epoch: int = 0,
    loss: float = -1.0,
) -> list:
    """A forward of these rows with 4 label tokens each, or as many as are given, and its backward."""
    counts = tuple(tokens if tokens is not None else [4] * len(rows))
    return [
        Forward(
            micro_batch=number,
            rows=tuple(rows),
            epoch=epoch,
            label_tokens=counts,
            input_tokens=sum(counts) + len(counts),
            divisor=None,
            loss=loss,
        ),
        Backward(micro_batch=number, scale=1.0),
    ]


def update(
    weights: dict[int, float] | None, *, rate: float = 0.01, suppressed: bool = False, **changes
) -> list:
    """An optimizer step, with the advance of the schedule after it unless it was suppressed."""
    fields = {"learning_rates": (rate,), "grad_norm": 1.0, "weights": weights, "suppressed": suppressed}
    stepped = OptimizerStep(**(fields | changes))
    return [stepped] if suppressed else [stepped, SchedulerStep(learning_rates=(rate,))]


def one_row_updates(count: int, rows: int, suppressed: Sequence[int] = ()) -> list:
    """`count` attempts of one row of 4 label tokens each, pass after pass; the `suppressed` ones change nothing."""
    events: list = []
    for number in range(count):
        epoch, row = divmod(number, rows)
        events += [EpochBegan(epoch=epoch)] if row == 0 else []
        events += micro_batch(number, [row], epoch=epoch)
        events += update({row: 0.25}, suppressed=number in suppressed)
    return events


def books(
    events: Sequence, claims: Claims | None = None, contract: str = "token-mean", **scenario
) -> CellBooks:
    """The books of these events."""
    record = CellRecord(
        cell_id="hand",
        scenario=Scenario(**(PLAIN | scenario)),
        subject="hand",
        contract=contract,
        versions={},
        device="cpu",
        outcome=Outcome.COMPLETED,
        events=tuple(events),
        claims=claims or Claims(),
    )
    return draw_up(record, CONTRACTS[contract])


def finding(rule: str, cell: CellBooks) -> Finding | None:
    """The first finding of a rule that can judge; None where it holds."""
    answer = RULES[rule].judge(cell)
    assert not isinstance(answer, NotJudged), answer.reason
    return answer[0] if answer else None


def reason(rule: str, cell: CellBooks) -> str:
    """Why a rule cannot judge."""
    answer = RULES[rule].judge(cell)
    assert isinstance(answer, NotJudged), answer
    return answer.reason
