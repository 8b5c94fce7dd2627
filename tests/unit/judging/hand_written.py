"""Records written by hand: a loop that makes a given number of updates, one row each."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from stepaudit.harness.contract import CONTRACTS
from stepaudit.harness.judging.run import RunFacts, judge_run
from stepaudit.harness.ledger import (
    Backward,
    CellError,
    CellRecord,
    Claims,
    Curves,
    EpochBegan,
    Forward,
    OptimizerStep,
    Outcome,
    Replay,
)
from stepaudit.scenarios import Scenario
from stepaudit.scenarios.gate import NO_GATE
from stepaudit.scenarios.known import KnownDeviation, load_known

__all__ = ["TODAY", "broken", "entry", "failed", "judged", "record", "refused", "replayed"]

TODAY = date(2026, 3, 1)
PLAN = {
    "per_device_batch_size": 1,
    "lr_schedule": "constant",
    "lengths": "equal",
    "max_grad_norm": 0.0,
    "logging_steps": 0,
    "epochs": 5.0,
}


def record(
    updates: int, *, cell_id: str = "", subject: str = "loop", claims: Claims | None = None, **scenario
) -> CellRecord:
    """A cell that makes `updates` updates of one row each, whatever it was asked for."""
    asked = Scenario(**(PLAN | {"rows": 4, "max_steps": 4} | scenario))
    events = []
    for number in range(updates):
        epoch, row = divmod(number, asked.rows)
        if row == 0:
            events.append(EpochBegan(epoch=epoch))
        events += [
            Forward(
                micro_batch=number,
                rows=(row,),
                epoch=epoch,
                label_tokens=(4,),
                input_tokens=5,
                divisor=None,
                loss=-1.0,
            ),
            Backward(micro_batch=number, scale=1.0),
            OptimizerStep(
                learning_rates=(asked.learning_rate,), grad_norm=1.0, weights={row: 0.25}, suppressed=False
            ),
        ]
    return CellRecord(
        cell_id=cell_id or f"{subject}-{asked.label}",
        scenario=asked,
        subject=subject,
        contract="token-mean",
        versions={"torch": "2.13.0"},
        device="cpu",
        outcome=Outcome.COMPLETED,
        events=tuple(events),
        claims=claims or Claims(),
    )


def broken(**scenario) -> CellRecord:
    """A cell that doubles its target."""
    return record(2 * scenario.get("max_steps", 4), **scenario)


def failed(**scenario) -> CellRecord:
    """A cell that crashed."""
    error = CellError(kind="killed", message="signal 9")
    return replace(record(0, **scenario), outcome=Outcome.ERROR, error=error, cell_id="failed")


def refused(**scenario) -> CellRecord:
    """A pairing that the subject declines."""
    return replace(record(0, **scenario), outcome=Outcome.UNSUPPORTED, reason="no reason", cell_id="refused")


def replayed(item: CellRecord, *, width: float = 2.0**-20) -> CellRecord:
    """The same cell with a replay that agrees with it, and `width` as the rounding noise of every update."""
    count, rate = sum(isinstance(event, OptimizerStep) for event in item.events), item.scenario.learning_rate
    curves = Curves(losses=(-1.0,) * count, grad_norms=(1.0,) * count, learning_rates=(rate,) * count)
    envelope = Curves(losses=(width,) * count, grad_norms=(width,) * count, learning_rates=(0.0,) * count)
    replay = Replay(
        precision="float32",
        epsilon=2.0**-23,
        updates=count,
        complete=True,
        subject=curves,
        exact=curves,
        own=curves,
        envelope=envelope,
        parameters=(),
    )
    return replace(item, replay=replay)


def entry(path, **changes) -> KnownDeviation:
    """A known deviation of rule `target`, read from a file as the real ones are."""
    fields = {
        "id": "doubles",
        "rule": "target",
        "subject": "loop",
        "where": "",
        "reason": "it doubles",
        "upstream": "nowhere",
        "owner": "nobody",
        "added": date(2026, 1, 1),
        "expires": date(2026, 6, 1),
    } | changes
    lines = [
        f"{key} = {value.isoformat() if isinstance(value, date) else repr(value)}"
        for key, value in fields.items()
    ]
    file = path / "known.toml"
    file.write_text("schema = 1\n[[known]]\n" + "\n".join(lines) + "\n", encoding="utf-8")
    (known,) = load_known(file)
    return known


def judged(*records: CellRecord, known=(), today=TODAY, reference=(), gate=NO_GATE, **facts):
    """The verdict on these records."""
    given = {"command": "x", "suite": "hand", "started": "2026-03-01T00:00:00Z", "seconds": 1.0} | facts
    return judge_run(records, list(known), RunFacts(**given), reference=reference, today=today, gate=gate)


assert "token-mean" in CONTRACTS
