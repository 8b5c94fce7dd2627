"""No false alarm: correct loops, however unusual, satisfy every rule that can judge them."""

from __future__ import annotations

import inspect
from pathlib import Path

import correct_loops
import pytest
from cell_runs import books_of, broken_rules, unjudged_rules
from stepaudit.scenarios import Scenario

LOOPS = [
    name
    for name, value in vars(correct_loops).items()
    if inspect.isfunction(value) and value.__module__ == "correct_loops" and name != "tokens_of"
]
WITHOUT_CLAIMS = {"claim", "plan", "epoch", "log", "tokens"}
UNJUDGED = {"silent": WITHOUT_CLAIMS, "log_without_steps": {"log"}}
"""the rules that a loop gives nothing to judge by, beside those that the scenario does not ask for"""

COMMON = {"rows": 9, "grad_accum": 2, "epochs": 2.0}
SCENARIOS = {
    "ragged": Scenario(**COMMON),
    "equal": Scenario(**COMMON, lengths="equal", first_label="masked"),
    "tail of one row": Scenario(rows=5, per_device_batch_size=2, grad_accum=4, max_steps=5),
    "clipping": Scenario(**COMMON, max_grad_norm=0.05, logging_steps=2),
    "not clipping": Scenario(**COMMON, max_grad_norm=0.0, logging_steps=3),
    "one row": Scenario(rows=1, grad_accum=3, epochs=3.0),
    "single rows": Scenario(rows=6, per_device_batch_size=1, grad_accum=4, max_steps=7, shuffle=False),
    "drop_last": Scenario(rows=11, grad_accum=3, max_steps=6, drop_last=True),
    "fraction": Scenario(rows=13, grad_accum=4, epochs=1.5, warmup_steps=2),
    "cadences": Scenario(**COMMON, logging_steps=2, save_steps=4, eval_steps=4),
}
EVALUATES_OFTEN = {"evaluating_on_training_data", "hooked"}
"""forwards without a gradient count as evaluations"""


PAIRS = [
    pytest.param(loop, scenario, id=f"{loop}-{name}")
    for loop in LOOPS
    for name, scenario in SCENARIOS.items()
    if not (loop in EVALUATES_OFTEN and scenario.eval_steps)
]


@pytest.mark.parametrize(("loop", "scenario"), PAIRS)
def test_every_rule_holds(loop, scenario):
    """What cannot be judged is said, everything else holds."""
    books = books_of(f"{Path(correct_loops.__file__)}:{loop}", scenario)
    assert broken_rules(books) == {}
    unasked = {"save"} - ({"save"} if scenario.save_steps else set())
    unasked |= set() if scenario.eval_steps else {"eval"}
    assert set(unjudged_rules(books)) <= unasked | UNJUDGED.get(loop, set())


def test_the_catalogue_is_complete():
    """Every loop of the catalogue is run."""
    assert len(LOOPS) >= 28
    assert "plain" in LOOPS
