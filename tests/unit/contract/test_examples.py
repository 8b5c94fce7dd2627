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


def example(rule: str, **scenario) -> str:
    """What the example of a rule says."""
    return rule_examples(Scenario(per_device_batch_size=2, **scenario), CONTRACTS["token-mean"])[rule]


@pytest.mark.parametrize(
    ("updates", "windows", "rates"),
    [
        (4, "1, 1, 1, 1", "0.01, 0.01, 0.01, 0.01"),
        (5, "1, 1, 1, 1, 1", "0.01, 0.01, 0.01, 0.01, …"),
        (6, "1, 1, 1, 1, 1, 1", "0.01, 0.01, 0.01, 0.01, …"),
        (7, "1, 1, 1, 1, 1, 1, … (7 windows)", "0.01, 0.01, 0.01, 0.01, …"),
    ],
)
def test_long_lists_are_cut(updates, windows, rates):
    """After six windows and four rates; three dots say that there are more."""
    shape = {"rows": 2, "max_steps": updates, "lr_schedule": "constant", "learning_rate": 0.01}
    assert example("window", **shape) == f"windows = {windows}"
    assert example("schedule", **shape).startswith(f"lr of updates 1, 2, …: {rates}; {updates} scheduler")


@pytest.mark.parametrize(
    ("every", "text"),
    [
        (1, "1, 2, 3, 4, …"),
        (2, "2, 4, 6, 8"),
        (8, "8"),
        (9, "none"),
    ],
)
def test_multiples_up_to_the_last_update(every, text):
    """Four are shown of eight updates; the last counts."""
    assert example("save", rows=16, epochs=1.0, save_steps=every).endswith(f"after updates {text}")


@pytest.mark.parametrize(("drop_last", "seen", "M"), [(False, 7, 2), (True, 4, 1)])
def test_the_rows_of_an_epoch(drop_last, seen, M):
    """All, or as many as there are whole rounds of: M·B·R."""
    text = example("coverage", rows=7, ranks=2, drop_last=drop_last)
    assert text == f"{seen} of 7 rows an epoch, in {M} micro-batches of 2"


def test_the_first_window_is_what_the_first_epoch_claim_is_about():
    """3 micro-batches, windows of 2 and 1."""
    text = example("epoch", rows=6, grad_accum=2, epochs=1.0)
    assert text == "after update 1: 0 + 2 / 3 = 0.6667; at the end 1"
