"""Records for the tests of the reports: ledgers of loops that make a given number of optimizer steps."""

from __future__ import annotations

import math
import random
from typing import Any

from stepaudit.harness.judging.verdict import CellVerdict, Verdict
from stepaudit.harness.ledger import (
    Backward,
    CellRecord,
    Claims,
    EpochBegan,
    Event,
    Fetched,
    Forward,
    GradsZeroed,
    Logged,
    OptimizerStep,
    Outcome,
    SchedulerStep,
)
from stepaudit.scenarios import Scenario


def record_of(
    item: CellVerdict, scenario: Scenario, *, output: str = "", broken_losses: bool = False
) -> CellRecord:
    """Return a record with the ledger of a loop that makes the observed number of optimizer steps."""
    account = item.account
    steps = (account.observed.optimizer_steps or 0) if account else 0
    planned = (account.expected.optimizer_steps or 1) if account else 1
    draw = random.Random(3)
    events: list[Event] = [EpochBegan(epoch=0)]
    rows = list(range(scenario.rows))
    done = 0
    weighs = any(found.rule == "weight" for found in item.deviations)
    for update in range(steps):
        weights: dict[int, float] = {}
        rate = scenario.learning_rate * max(0.0, 1 - update / planned)
        for _ in range(scenario.grad_accum):
            first = done * scenario.per_device_batch_size % scenario.rows
            batch = tuple(rows[first : first + scenario.per_device_batch_size])
            loss = 2.2 * math.exp(-min(update, planned) / planned * 1.6) + 0.5 + draw.gauss(0, 0.05)
            if broken_losses and update % 5 == 4:
                loss = math.nan
            for row in batch if weighs else ():
                due = 1 / (3 * scenario.grad_accum * scenario.per_device_batch_size)
                weights[row] = due * (2 if row == 7 else 1)
            events.append(Fetched(rows=batch, epoch=0))
            events.append(
                Forward(
                    micro_batch=done,
                    rows=batch,
                    epoch=0,
                    label_tokens=(3,) * len(batch),
                    input_tokens=12,
                    divisor=24.0,
                    loss=loss / scenario.grad_accum,
                )
            )
            events.append(Backward(micro_batch=done, scale=1.0))
            done += 1
        events.append(
            OptimizerStep(learning_rates=(rate,), grad_norm=0.3, weights=weights or None, suppressed=False)
        )
        events.append(SchedulerStep(learning_rates=(rate,)))
        events.append(GradsZeroed())
        events.append(
            Logged(
                global_step=update + 1,
                epoch=None,
                loss=1.0,
                learning_rate=rate,
                grad_norm=None,
                input_tokens=None,
            )
        )
    return CellRecord(
        cell_id=item.id,
        scenario=scenario,
        subject=item.subject,
        contract=item.contract,
        versions={"torch": "2.13.0"},
        device="cpu",
        outcome=Outcome.COMPLETED,
        events=tuple(events),
        claims=Claims(),
        output=output or "==((====))==  Num examples = 60 | Num Epochs = 2\r 50%|#####     | 8/16\n",
    )


def lookup_for(verdict: Verdict, **changes: Any) -> Any:
    """Return a records lookup that makes the record of any cell of the verdict."""
    cells = {item.id: item for item in verdict.cells}
    names = set(Scenario.__dataclass_fields__)

    def lookup(cell_id: str) -> CellRecord | None:
        item = cells.get(cell_id)
        if item is None:
            return None
        scenario = Scenario(**{key: value for key, value in item.scenario.items() if key in names})
        return record_of(item, scenario, **changes)

    return lookup
