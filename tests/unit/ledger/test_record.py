"""Records survive their JSON form, value by value, and say what is wrong with one that is none."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stepaudit.harness import ledger
from stepaudit.harness.ledger import (
    CellError,
    CellRecord,
    Claims,
    Event,
    LogEntry,
    Outcome,
    record_from_json,
    record_to_json,
)
from stepaudit.scenarios import Scenario

HOSTILE = "\x00\x1b[31m</script>\u202e\U0001f600\ud83d '\"\\ NaN Infinity -inf\n\r\t\u2028"
FLOATS = (0.1, -0.0, 5e-324, 1.7976931348623157e308, math.nan, math.inf, -math.inf)

ROOTS = (CellRecord, *get_args(Event))
"""every type that is written by itself; a new event type comes here by being in `Event`"""


def same(left, right) -> bool:
    """Equality in which NaN equals NaN, zeros keep their sign and an integer is no float."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return repr(left) == repr(right)
    if isinstance(left, (tuple, list)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if dataclasses.is_dataclass(left):
        return all(
            same(getattr(left, item.name), getattr(right, item.name)) for item in dataclasses.fields(left)
        )
    return left == right


def values_of(hint, number):
    """A value of a field's type that holds `number` wherever a float may be."""
    origin, args = typing.get_origin(hint), get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return values_of(next(option for option in args if option is not type(None)), number)
    if origin is tuple:
        return (values_of(args[0], number),) * 2
    if origin is dict:
        return {values_of(args[0], number): values_of(args[1], number)}
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return hint(**{item.name: values_of(hints[item.name], number) for item in dataclasses.fields(hint)})
    return {float: number, int: 2**53, bool: True, str: HOSTILE}[hint]


def record(**changes) -> CellRecord:
    fields = {
        "cell_id": "0f",
        "scenario": Scenario(epochs=1 / 3, max_steps=7),
        "subject": HOSTILE,
        "contract": "hf-5",
        "versions": {"torch": "2.13.0"},
        "device": "cpu",
        "outcome": Outcome.COMPLETED,
    }
    return CellRecord(**(fields | changes))


def round_trip(item: CellRecord) -> CellRecord:
    text = record_to_json(item)
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    return record_from_json(text)


@pytest.mark.parametrize("number", FLOATS, ids=repr)
@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_every_event_round_trips(kind, number):
    """Every field of every event, with each hostile float wherever a float may be, and with None where it may be."""
    hints = typing.get_type_hints(kind)
    full = {item.name: values_of(hints[item.name], number) for item in dataclasses.fields(kind)}
    optional = {name for name, hint in hints.items() if type(None) in get_args(hint)}
    events = [kind(**full), kind(**(full | dict.fromkeys(optional)))]
    back = round_trip(record(events=tuple(events)))
    assert same(back.events, tuple(events))


@pytest.mark.parametrize("number", FLOATS, ids=repr)
def test_claims_round_trip(number):
    """Claims and log entries, hostile floats and integers that stay integers."""
    entry = LogEntry(
        global_step=3, epoch=number, loss=number, learning_rate=number, grad_norm=number, input_tokens=1
    )
    claims = Claims(
        global_step=1,
        epoch=number,
        planned_steps={"state": 5, HOSTILE: 2},
        log=(entry, LogEntry()),
        saved_at=(1, 2),
        evaluated_at=(),
        unread=(HOSTILE,),
    )
    assert same(round_trip(record(claims=claims)).claims, claims)
    assert same(round_trip(record(claims=Claims(epoch=2))).claims.epoch, 2)


def test_the_rest_of_a_record_round_trips():
    """Errors, output, outcomes, seconds."""
    for outcome in Outcome:
        item = record(
            outcome=outcome,
            error=CellError(kind="exception", message=HOSTILE, traceback=HOSTILE),
            reason=HOSTILE,
            output=HOSTILE,
            seconds=math.inf,
        )
        assert same(round_trip(item), item)


def test_every_dump_root_is_covered():
    """The record and all events; whatever else the package exports is no event that the union forgot."""
    exported = {
        value
        for name in ledger.__all__
        if dataclasses.is_dataclass(value := getattr(ledger, name)) and value.__module__.endswith(".events")
    }
    assert exported <= set(ROOTS)


@given(
    text=st.text(),
    number=st.floats(),
    weights=st.dictionaries(st.integers(0, 2**53), st.floats(), max_size=5),
)
@settings(deadline=None)
def test_drawn_values(text, number, weights):
    """Arbitrary text (lone surrogates included) and floats."""
    event = ledger.OptimizerStep(
        learning_rates=(number,), grad_norm=number, weights=weights, suppressed=False
    )
    item = record(subject=text, output=text, events=(event,))
    assert same(round_trip(item), item)


class TestDigest:
    """What two identical runs must agree on."""

    EVENT = ledger.SchedulerStep(learning_rates=(math.nan, 0.1))

    def test_stable(self):
        """Pinned: a change of it makes every stored comparison a new one."""
        item = record(events=(self.EVENT,), claims=Claims(global_step=1))
        assert item.digest() == record(events=(self.EVENT,), claims=Claims(global_step=1)).digest()
        assert len(item.digest()) == 64
        assert round_trip(item).digest() == item.digest()

    def test_time_output_and_identity_do_not_count(self):
        """Neither the wall time nor what was printed."""
        one = record(events=(self.EVENT,), seconds=1.0, output="a")
        assert one.digest() == record(events=(self.EVENT,), seconds=2.0, output="b", cell_id="ff").digest()

    @pytest.mark.parametrize(
        "changed",
        [
            {"events": (ledger.SchedulerStep(learning_rates=(math.nan, 0.1000000000000001)),)},
            {"events": ()},
            {"claims": Claims(global_step=2)},
            {"outcome": Outcome.UNSUPPORTED},
            {"error": CellError(kind="timeout", message="")},
        ],
    )
    def test_what_differs_shows(self, changed):
        """The last bit of a rate, a missing event, another claim."""
        base = {"events": (self.EVENT,), "claims": Claims(global_step=1)}
        assert record(**base).digest() != record(**(base | changed)).digest()

    def test_order_of_a_mapping_does_not_count(self):
        """Weights are a table."""
        steps = [
            ledger.OptimizerStep(learning_rates=(), grad_norm=None, weights=weights, suppressed=False)
            for weights in ({1: 0.5, 2: 0.25}, {2: 0.25, 1: 0.5})
        ]
        assert record(events=(steps[0],)).digest() == record(events=(steps[1],)).digest()


@pytest.mark.parametrize(
    "damage",
    [
        lambda table: table.pop("scenario"),
        lambda table: table.pop("events"),
        lambda table: table.update(events=[{"event": "NoSuchEvent"}]),
        lambda table: table.update(events=[{"event": "Saved"}]),
        lambda table: table.update(events=[{"event": "Saved", "global_step": 1, "more": 2}]),
        lambda table: table.update(outcome="fine"),
        lambda table: table.update(claims=None),
        lambda table: table.update(unknown=1),
        lambda table: table["scenario"].update(rows="9"),
        lambda table: table["scenario"].update(rows=True),
    ],
)
def test_a_damaged_record_is_a_value_error(damage):
    """Never a half-read record, and never another exception."""
    table = json.loads(record_to_json(record()))
    damage(table)
    with pytest.raises(ValueError):  # noqa: PT011  several messages
        record_from_json(json.dumps(table))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"x"', b"\xff\xfe"])
def test_what_is_no_record_is_a_value_error(text):
    """Truncated, of another kind, or no JSON at all."""
    with pytest.raises(ValueError):  # noqa: PT011
        record_from_json(text)


def test_a_value_without_a_json_form_is_refused():
    """Rather than written as its repr."""
    with pytest.raises(TypeError, match="cannot hold a complex"):
        record_to_json(record(versions={"x": 1j}))
