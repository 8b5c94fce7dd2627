"""What a new known deviation covers: exactly the cells of its cluster, by selections that anybody can read."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepaudit.harness.judging.covering import covering_selections
from stepaudit.scenarios import Scenario, ScenarioError
from stepaudit.scenarios.selection import parse_selection
from stepaudit.scenarios.vocabulary import SCENARIO_VOCABULARY


def fields(**changes):
    return Scenario(**changes).to_mapping()


def matches(text, scenario):
    return parse_selection(text, SCENARIO_VOCABULARY).matches(scenario)


def test_one_box_is_one_selection():
    """Only the fields that tell the run's cells apart are named."""
    inside = [fields(rows=rows, grad_accum=4) for rows in (9, 13)]
    outside = [fields(rows=rows) for rows in (9, 13)]
    ((text, covered),) = covering_selections(inside, outside)
    assert text == "grad_accum:4"
    assert covered == [0, 1]


def test_everything_is_every_scenario():
    """Where the run has nothing beside the cluster."""
    ((text, _),) = covering_selections([fields(rows=9)], [])
    assert text == ""


def test_values_of_every_kind_are_written_so_that_they_are_read_back():
    """None, words, numbers with and without a point, truth values."""
    inside = [fields(max_steps=None, epochs=1.5, learning_rate=1e-05, drop_last=True, lr_schedule="cosine")]
    outside = [fields(max_steps=3, epochs=2.0, learning_rate=0.1, shuffle=False)]
    ((text, _),) = covering_selections(inside, outside)
    assert "max_steps:none" in text
    assert "drop_last:true" in text
    assert "learning_rate:1e-05" in text
    assert matches(text, inside[0])
    assert not matches(text, outside[0])


@given(st.integers(0, 2**20), st.integers(1, 30))
def test_any_set_of_cells_can_be_told_from_the_others(seed, size):
    """However they lie: all of the inside is covered, nothing of the outside ever is."""
    chance = random.Random(seed)
    cells = [
        fields(rows=rows, grad_accum=accum, drop_last=drop, max_steps=limit)
        for rows in (3, 9, 16)
        for accum in (1, 2)
        for drop in (False, True)
        for limit in (None, 5)
    ]
    chance.shuffle(cells)
    inside, outside = cells[: min(size, 24)], cells[min(size, 24) :]
    found = covering_selections(inside, outside)
    assert all(any(matches(text, cell) for text, _ in found) for cell in inside)
    assert not any(matches(text, cell) for text, _ in found for cell in outside)
    assert sorted(number for _, covered in found for number in covered) == list(range(len(inside)))


@pytest.mark.parametrize(
    ("inside", "outside", "text"),
    [
        ({"max_steps": None}, {"max_steps": 0}, "max_steps:none"),
        ({"max_steps": 0}, {"max_steps": None}, "max_steps:0"),
        ({"rows": 2**53}, {"rows": 2**53 - 1}, f"rows:{2**53}"),
        ({"epochs": 1.0000001}, {"epochs": 1.0}, "epochs:1.0000001"),
        ({"lr_schedule": "cosine"}, {"lr_schedule": "linear"}, "lr_schedule:cosine"),
    ],
)
def test_values_that_are_near_are_two(inside, outside, text):
    """No limit is not a limit of 0, and no number is rounded."""
    ((found, _),) = covering_selections([fields(**inside)], [fields(**outside)])
    assert found == text


def test_values_of_a_field_are_in_order():
    """None first, then numbers by their size."""
    inside = [fields(max_steps=limit) for limit in (10, 9, None, 0)]
    ((text, covered),) = covering_selections(inside, [fields(max_steps=3)])
    assert (text, covered) == ("max_steps:none,0,9,10", [0, 1, 2, 3])


def box(rows, accum, drop=False):
    return fields(rows=rows, grad_accum=accum, drop_last=drop)


def test_cells_are_gathered_as_long_as_their_box_holds_nothing_else():
    """One selection a group, the rest in the next one."""
    found = covering_selections([box(9, 1), box(9, 2), box(13, 1)], [box(13, 2)])
    assert found == [("rows:9", [0, 1]), ("rows:13 grad_accum:1", [2])]


def test_the_nearest_cells_are_gathered_first():
    """Whatever their order: a box that reaches far holds more that nobody has seen."""
    found = covering_selections([box(9, 1), box(13, 2), box(9, 1, drop=True)], [box(13, 1, drop=True)])
    assert [covered for _, covered in found] == [[0, 2], [1]]


def test_a_scenario_that_is_on_both_sides_is_refused():
    """No selection can tell it from itself."""
    with pytest.raises(ScenarioError, match="nothing can tell the cells apart"):
        covering_selections([fields(rows=9)], [fields(rows=9)])
