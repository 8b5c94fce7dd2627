"""Requests and ids: what decides a ledger decides the id, and nothing else does."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepaudit.harness.running.request import (
    CellRequest,
    cell_id,
    is_repeated,
    request_from_json,
    request_to_json,
)
from stepaudit.harness.running.shard import Shard
from stepaudit.scenarios import Scenario


def request(**changes):
    given_fields = {
        "cell_id": "a" * 64,
        "scenario": Scenario(),
        "subject": "hf",
        "contract": "hf-5",
        "versions": {"torch": "2"},
        "device": "cpu",
        "timeout_s": 1.5,
        "options": {"projection": 3},
    }
    return CellRequest(**given_fields | changes)


def identity(**changes):
    parts = {"scenario": Scenario(), "subject": "hf", "versions": {"torch": "2"}, "device": "cpu"}
    return cell_id(**parts | changes)


@given(
    st.builds(Scenario, rows=st.integers(1, 9), epochs=st.floats(0.1, 4), seed=st.integers(0, 2**53)),
    st.text(),
    st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()),
)
def test_json_round_trip(scenario, subject, options):
    """Whatever a request holds, a worker gets."""
    sent = request(scenario=scenario, subject=subject, options=options)
    assert request_from_json(request_to_json(sent)) == sent


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout_s", 0),
        ("timeout_s", "1"),
        ("timeout_s", True),
        ("cell_id", 3),
        ("versions", {"torch": 2}),
        ("options", {"a": [1]}),
        ("scenario", {"rows": "4"}),
        ("scenario", {"row": 4}),
        ("scenario", None),
        ("extra", 1),
    ],
)
def test_json_is_strict(field, value):
    """A wrong type, a missing field and an unknown one are errors that show the value."""
    table = json.loads(request_to_json(request())) | {field: value}
    with pytest.raises(ValueError, match=r".+"):
        request_from_json(json.dumps(table).encode())


def test_json_needs_every_field():
    table = json.loads(request_to_json(request()))
    del table["device"]
    with pytest.raises(ValueError, match="device"):
        request_from_json(json.dumps(table).encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"scenario": Scenario(rows=17)},
        {"subject": "plain"},
        {"versions": {"torch": "3"}},
        {"versions": {"torch": "2", "source": "f"}},
        {"device": "NVIDIA H100"},
    ],
)
def test_the_id_changes_with_everything_that_decides_a_ledger(changes):
    assert identity(**changes) != identity()


def test_the_id_changes_with_the_ledger_version(monkeypatch):
    before = identity()
    monkeypatch.setattr("stepaudit.harness.running.request.LEDGER_VERSION", 999)
    assert identity() != before


def test_the_id_does_not_depend_on_the_order_of_the_versions():
    assert identity(versions={"a": "1", "b": "2"}) == identity(versions={"b": "2", "a": "1"})


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_share_all_cells_out(count):
    """Every cell has exactly one owner, and no shard is much larger than the others."""
    cells = [identity(scenario=Scenario(seed=seed)) for seed in range(400)]
    owned = [
        sum(Shard(index=index, count=count).owns(cell) for cell in cells) for index in range(1, count + 1)
    ]
    assert sum(owned) == 400
    assert min(owned) > 400 / count / 2


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "1/2/3", "-1/2", ""])
def test_a_shard_that_is_none_is_an_error(text):
    with pytest.raises(ValueError, match="a shard is i/n"):
        Shard.parse(text)


def test_a_shard_is_written_i_of_n():
    assert Shard.parse("2/3") == Shard(index=2, count=3)


def test_the_fraction_that_is_repeated_is_the_fraction_asked_for():
    """None, all, or about the share; independent of the shard, which reads other digits."""
    cells = [identity(scenario=Scenario(seed=seed)) for seed in range(2000)]
    assert not any(is_repeated(cell, 0.0) for cell in cells)
    assert all(is_repeated(cell, 1.0) for cell in cells)
    assert 60 < sum(is_repeated(cell, 0.05) for cell in cells) < 140
    first = Shard(index=1, count=2)
    assert 20 < sum(is_repeated(cell, 0.05) for cell in cells if first.owns(cell)) < 80


def test_a_request_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        request().device = "cuda"
