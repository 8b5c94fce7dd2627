"""Proposed formulas: on how many cells they hold, with whose epochs, and a counterexample."""

from __future__ import annotations

import pytest
from simulated import CONTRACT, FAULTS, drawn, records_of
from stepaudit.harness.diagnosis import FIGURES, cell_of, figure_named, hypothesis_held, sample_of
from stepaudit.scenarios import ScenarioError

RECORDS = records_of(FAULTS["break leaves the inner loop, epochs from rows"])(drawn(200, seed=21))
SAMPLE = sample_of(FIGURES["optimizer_steps"], [cell_of(record, CONTRACT) for record in RECORDS])


def test_the_published_diagnosis_is_held_against_every_cell():
    """`max_steps * epochs` in each reading: counts add up and a counterexample is shown."""
    readings = hypothesis_held("max_steps * epochs", SAMPLE)
    assert [item.reading for item in readings] == ["epochs as asked for", "epochs = E, the contract's"]
    for item in readings:
        assert not item.is_true
        assert 0 < item.right < item.of < len(SAMPLE.cells)
        assert item.of + item.without == len(SAMPLE.cells)
        scenario, said, observed = item.counterexample
        assert float(said) != observed
        assert scenario.max_steps


def test_a_true_hypothesis_is_called_true():
    (held,) = hypothesis_held("T + (ceil(B * A * max_steps / rows) - E) * U", SAMPLE)
    assert held.is_true
    assert held.counterexample is None


def test_a_hypothesis_that_is_no_formula_is_refused():
    with pytest.raises(ScenarioError, match="max_stepz"):
        hypothesis_held("max_stepz * 2", SAMPLE)


def test_an_unknown_figure_names_the_nearest():
    with pytest.raises(ScenarioError, match="optimizer_steps"):
        figure_named("optimizer-stebs")
