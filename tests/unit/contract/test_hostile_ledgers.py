"""Rules answer, whatever a ledger holds: no exception, and no NaN that passes for a number."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stepaudit.harness.contract import CONTRACTS, RULES, CellBooks, NotJudged, draw_up
from stepaudit.harness.ledger import (
    Backward,
    CellRecord,
    Claims,
    Clipped,
    EpochBegan,
    Evaluated,
    Fetched,
    Forward,
    GradsZeroed,
    LogEntry,
    Logged,
    OptimizerStep,
    Outcome,
    Saved,
    SchedulerStep,
)
from stepaudit.scenarios import DatasetKind, LossProtocol, Scenario

small = st.integers(0, 6)
number = st.floats(allow_nan=True, allow_infinity=True)
some_number = st.none() | number


@st.composite
def ledgers(draw):
    """Events in any order, as long as a backward follows its forward."""
    events = []
    forwards = 0
    for kind in draw(st.lists(st.sampled_from("pFfBbczsouelgv"), max_size=40)):
        if kind == "p":
            events.append(EpochBegan(epoch=draw(small)))
        elif kind == "F":
            events.append(
                Fetched(rows=tuple(draw(st.lists(small, max_size=3))), epoch=draw(st.integers(-1, 3)))
            )
        elif kind == "f":
            rows = draw(st.lists(small, max_size=3, unique=True))
            events.append(
                Forward(
                    micro_batch=forwards,
                    rows=tuple(rows),
                    epoch=draw(st.integers(0, 3)),
                    label_tokens=tuple(draw(st.integers(0, 4)) for _ in rows),
                    input_tokens=draw(small),
                    divisor=draw(st.none() | st.floats(allow_nan=True)),
                    loss=draw(some_number),
                )
            )
            forwards += 1
        elif kind in "Bb" and forwards:
            events.append(Backward(micro_batch=draw(st.integers(0, forwards - 1)), scale=draw(some_number)))
        elif kind == "c":
            events.append(Clipped(max_norm=draw(number), total_norm=draw(number)))
        elif kind == "z":
            events.append(GradsZeroed())
        elif kind == "s":
            events.append(SchedulerStep(learning_rates=(draw(number),)))
        elif kind in "ou":
            events.append(
                OptimizerStep(
                    learning_rates=(draw(number),),
                    grad_norm=draw(some_number),
                    weights=draw(st.none() | st.dictionaries(small, number, max_size=4)),
                    suppressed=kind == "u",
                )
            )
        elif kind == "e":
            events.append(Evaluated(rows=draw(small)))
        elif kind == "l":
            events.append(
                Logged(
                    global_step=draw(st.none() | st.integers(-3, 9)),
                    epoch=draw(some_number),
                    loss=draw(some_number),
                    learning_rate=draw(some_number),
                    grad_norm=draw(some_number),
                    input_tokens=draw(st.none() | small),
                )
            )
        elif kind == "v":
            events.append(Saved(global_step=draw(small)))
    return tuple(events)


entries = st.builds(
    LogEntry,
    global_step=st.none() | st.integers(-3, 9),
    epoch=st.none() | number | st.integers(-2, 4),
    loss=some_number,
    learning_rate=some_number,
    grad_norm=some_number,
)
claims = st.builds(
    Claims,
    global_step=st.none() | st.integers(-3, 9),
    epoch=st.none() | number | st.integers(-2, 4),
    planned_steps=st.none() | st.dictionaries(st.sampled_from(["state", "bar"]), small),
    log=st.none() | st.lists(entries, max_size=5).map(tuple),
    saved_at=st.none() | st.lists(small, max_size=3).map(tuple),
    evaluated_at=st.none() | st.lists(small, max_size=3).map(tuple),
    input_tokens=st.none() | small,
    unread=st.sampled_from([(), ("max_grad_norm",), ("logging_steps", "warmup_steps")]),
)
scenarios = st.builds(
    Scenario,
    rows=st.integers(1, 6),
    per_device_batch_size=st.integers(1, 8),
    grad_accum=st.integers(1, 4),
    max_steps=st.none() | small,
    epochs=st.floats(0.1, 3.0),
    drop_last=st.booleans(),
    dataset=st.just(DatasetKind.SIZED),
    loss_protocol=st.sampled_from(LossProtocol),
    max_grad_norm=st.sampled_from([0.0, 0.1, 1.0]),
    logging_steps=st.integers(0, 2),
    eval_steps=st.integers(0, 2),
    save_steps=st.integers(0, 2),
)


def books_from(events, claimed, scenario, contract) -> CellBooks:
    record = CellRecord(
        cell_id="x",
        scenario=scenario,
        subject="any",
        contract=contract,
        versions={},
        device="cpu",
        outcome=Outcome.COMPLETED,
        events=events,
        claims=claimed,
    )
    return draw_up(record, CONTRACTS[contract])


@given(events=ledgers(), claimed=claims, scenario=scenarios, contract=st.sampled_from(sorted(CONTRACTS)))
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
def test_rules_answer_whatever_the_ledger_holds(events, claimed, scenario, contract):
    """Every rule returns findings that point into the ledger, or a reason; none raises."""
    books = books_from(events, claimed, scenario, contract)
    for rule in RULES.values():
        answer = rule.judge(books)
        if isinstance(answer, NotJudged):
            assert answer.reason
            continue
        for finding in answer:
            assert finding.expected
            assert finding.got
            assert finding.formula
            assert finding.event is None or 0 <= finding.event < len(events)


def one_update(**changes) -> tuple:
    """A correct run of one row, one update; `changes` to its optimizer step."""
    fields = {"learning_rates": (0.01,), "grad_norm": 1.0, "weights": {0: 1.0}, "suppressed": False}
    forward = Forward(
        micro_batch=0, rows=(0,), epoch=0, label_tokens=(1,), input_tokens=2, divisor=None, loss=-1.0
    )
    return (
        EpochBegan(epoch=0),
        forward,
        Backward(micro_batch=0, scale=1.0),
        OptimizerStep(**(fields | changes)),
        SchedulerStep(learning_rates=(0.0,)),
    )


ONE = Scenario(rows=1, per_device_batch_size=1, max_grad_norm=0.0)
TRUE = LogEntry(global_step=1, epoch=1.0, loss=-1.0, learning_rate=0.01, grad_norm=1.0)


def answers(events, entry=TRUE, **claimed):
    given_claims = Claims(**({"global_step": 1, "epoch": 1.0, "log": (entry,)} | claimed))
    books = books_from(events, given_claims, ONE, "token-mean")
    found = {rule_id: rule.judge(books) for rule_id, rule in RULES.items()}
    return {rule_id for rule_id, answer in found.items() if answer and not isinstance(answer, NotJudged)}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
class TestNothingEqualsNan:
    """A value that is no number is a finding in every place where a rule compares."""

    def test_the_run_without_it(self, value):
        """The ledger that the others change is a conforming one."""
        assert answers(one_update()) == set()

    def test_learning_rate(self, value):
        """A rate that is no number."""
        assert "schedule" in answers(one_update(learning_rates=(value,)))

    def test_weight(self, value):
        """A weight that is no number."""
        assert "weight" in answers(one_update(weights={0: value}))

    def test_norm(self, value):
        """A norm that is no number is not the log's, nor that of a clip."""
        assert "log" in answers(one_update(grad_norm=value))

    @pytest.mark.parametrize("name", ["loss", "learning_rate", "grad_norm"])
    def test_log(self, value, name):
        """A logged value that is no number."""
        entry = LogEntry(**{**{field: getattr(TRUE, field) for field in TRUE.__slots__}, name: value})
        assert "log" in answers(one_update(), entry)

    def test_epoch(self, value):
        """A claimed epoch that is no number."""
        assert "epoch" in answers(one_update(), epoch=value)
