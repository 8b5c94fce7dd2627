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


def test_a_scenario_that_is_on_both_sides_is_refused():
    """No selection can tell it from itself."""
    with pytest.raises(ScenarioError, match="nothing can tell the cells apart"):
        covering_selections([fields(rows=9)], [fields(rows=9)])
