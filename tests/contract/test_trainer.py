"""The contract `hf-5` against the real `transformers.Trainer`, over drawn scenarios."""

from __future__ import annotations

import pytest
from agreement import assert_agreement
from cell_runs import books_of, broken_rules, run_cell
from drawn_scenarios import has_long_window, scenarios
from hypothesis import HealthCheck, assume, given, settings
from stepaudit.harness.subjects import resolve
from stepaudit.scenarios import LossProtocol, Scenario

BOUNDED = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@pytest.mark.timeout(600)
@BOUNDED
@given(scenario=scenarios())
def test_the_contract_is_what_trainer_does(scenario):
    """Every count, window, weight, rate, claim and cadence of a Trainer run is the one that the contract predicts."""
    # Trainer divides neither by the accumulation nor hands over a divisor that this model uses: see below.
    assume(not (scenario.loss_protocol is LossProtocol.IGNORED and has_long_window(scenario)))
    # Trainer refuses a loader of length 0 without max_steps, and transformers' polynomial schedule divides by zero
    # where warm-up = T: the subject says so (tested below).
    assume(resolve("hf").supports(scenario) is None)
    assert_agreement(books_of("hf", scenario))


class TestWhereTrainerItselfDeviates:
    """The space that is left out above: the contract says what is right, and Trainer breaks these rules of it."""

    @pytest.mark.parametrize("accum", [2, 3, 4])
    def test_ignored_divisor(self, accum):
        """A model that takes `**kwargs` and ignores the divisor: the loss is never divided by the accumulation."""
        scenario = Scenario(rows=2 * accum, grad_accum=accum, loss_protocol="ignored", lengths="equal")
        broken = broken_rules(books_of("hf", scenario))
        assert list(broken) == ["weight"]
        assert broken["weight"][0].value == accum
        conforming = scenario.with_(grad_accum=1)
        assert broken_rules(books_of("hf", conforming)) == {}

    def test_iterable_dataset_with_a_remainder(self):
        """Without a length Trainer takes max_steps·A for the epoch: windows of more than A, a wrong epoch."""
        scenario = Scenario(rows=9, grad_accum=2, max_steps=7, dataset="iterable")
        broken = broken_rules(books_of("hf", scenario))
        assert set(broken) == {"window", "remainder", "weight", "epoch"}
        assert broken["window"][0].value == 3
        assert broken["window"][0].update == 3

    def test_iterable_dataset_without_a_remainder_claims_a_wrong_epoch(self):
        """Even where the windows are right, the claimed epoch is update / max_steps of the first pass."""
        scenario = Scenario(rows=8, grad_accum=2, max_steps=3, dataset="iterable")
        broken = broken_rules(books_of("hf", scenario))
        assert set(broken) == {"epoch"}

    def test_iterable_dataset_keeps_the_last_micro_batch_that_drop_last_asks_it_to_drop(self):
        """`dataloader_drop_last` is not handed to the loader of an iterable dataset."""
        scenario = Scenario(rows=5, max_steps=4, dataset="iterable", drop_last=True)
        broken = broken_rules(books_of("hf", scenario))
        assert "coverage" in broken
        assert broken["coverage"][0].got.startswith("5 rows in epoch 1")

    def test_zero_max_steps(self):
        """`max_steps=0` is neither positive nor negative: one update at rate 0 instead of the epochs asked for."""
        books = books_of("hf", Scenario(rows=9, grad_accum=2, max_steps=0, epochs=2.0))
        broken = broken_rules(books)
        assert {"target", "plan", "schedule"} <= set(broken)
        assert (broken["target"][0].due, broken["target"][0].value) == (6, 1)

    def test_polynomial_schedule_with_warmup_to_the_end(self, monkeypatch):
        """transformers' polynomial schedule divides by zero in the advance after the last update."""
        from stepaudit.harness.subjects import hf

        scenario = Scenario(rows=4, lr_schedule="polynomial", warmup_steps=2)
        assert "divides by T - warmup_steps" in resolve("hf").supports(scenario)
        monkeypatch.setattr(hf, "trainer_limits", lambda scenario, contract: None)
        record = run_cell("hf", scenario)
        assert record.error.message.startswith("ZeroDivisionError")
        assert record.error.kind == "exception"
