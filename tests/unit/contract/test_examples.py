"""The examples of the contract page are the contract's own numbers."""

import pytest
from stepaudit.harness.contract import CONTRACTS, RULES, expect
from stepaudit.harness.contract.examples import rule_examples
from stepaudit.scenarios import Scenario

SCENARIOS = [
    Scenario(rows=60, grad_accum=4, max_steps=8),
    Scenario(rows=5, epochs=1.5, grad_accum=2, drop_last=True, save_steps=2, eval_steps=3, resume_at=1),
    Scenario(rows=1, per_device_batch_size=4, drop_last=True),
    Scenario(rows=7, max_grad_norm=0.0, logging_steps=0),
]


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.label)
def test_examples_have_the_numbers_of_the_expectation(scenario, contract):
    """Every example is of a rule that exists, and those that name a figure name the expected one."""
    examples = rule_examples(scenario, contract)
    expected = expect(scenario, contract)
    assert set(examples) <= set(RULES)
    assert str(expected.terms.T) in examples["target"]
    if expected.optimizer_steps:
        assert examples["claim"] == f"global_step = {expected.optimizer_steps}"
        assert examples["window"].startswith(f"windows = {expected.windows[0]}")
        assert f"{expected.scheduler_steps} scheduler steps" in examples["schedule"]
    assert ("clip" in examples) == bool(scenario.max_grad_norm and expected.optimizer_steps)
    assert ("log" in examples) == bool(scenario.logging_steps and expected.optimizer_steps)
