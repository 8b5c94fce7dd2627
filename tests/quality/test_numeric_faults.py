"""Loops that are right in every count are still found out by what they compute."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from stepaudit.harness.contract import CONTRACTS, RULES, NotJudged, draw_up
from stepaudit.harness.ledger import Outcome
from stepaudit.harness.running.cell import execute
from stepaudit.harness.running.request import CellRequest
from stepaudit.harness.subjects import resolve
from stepaudit.scenarios import Scenario

LOOPS = Path(__file__).with_name("numeric_loops.py")
BASE = {
    "rows": 9,
    "grad_accum": 2,
    "max_steps": 4,
    "optimizer": "adamw_torch",
    "model": "tiny-llama",
    "tier": "numeric",
    "logging_steps": 0,
    "max_grad_norm": 100.0,
}
COUNTS = {"target", "window", "remainder", "coverage", "schedule", "claim"}


def books_of(function: str, **changes):
    scenario = Scenario(**(BASE | changes))
    subject = resolve(f"{LOOPS}:{function}")
    assert subject.supports(scenario) is None
    request = CellRequest(
        cell_id="test",
        scenario=scenario,
        subject=subject.name,
        contract=subject.contract,
        versions={},
        device="cpu",
        timeout_s=60.0,
    )
    with tempfile.TemporaryDirectory() as scratch:
        record = execute(request, Path(scratch))
    assert record.outcome is Outcome.COMPLETED, (record.error, record.reason)
    return draw_up(record, CONTRACTS[record.contract])


def findings(books):
    answers = {name: rule.judge(books) for name, rule in RULES.items()}
    return {name: found for name, found in answers.items() if found and not isinstance(found, NotJudged)}


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("loop", ["right", "scaled_gradients"])
def test_a_right_loop_conforms_in_every_precision(loop, precision):
    """However it comes to the token mean: by scaling losses or by scaling gradients."""
    if loop == "scaled_gradients" and precision == "fp16":
        pytest.skip("unscaled sums overflow in float16: such a loop is not right there")
    assert not findings(books_of(loop, precision=precision))


@pytest.mark.parametrize(
    ("loop", "changes", "broken"),
    [
        ("padded_tokens", {}, {"weight", "curve", "params"}),
        ("padded_tokens", {"precision": "bf16"}, {"weight", "curve"}),
        ("mean_of_means", {}, {"weight", "curve", "params"}),
        ("clip_before_unscaling", {"precision": "fp16", "max_grad_norm": 1.0}, {"curve"}),
        ("last_group_left_out", {}, {"params"}),
        ("last_group_left_out", {"model": "tiny-llama-lora"}, {"params"}),
        ("other_momenta", {}, {"curve", "params"}),
        ("decay_in_gradient", {}, {"weight", "curve", "params"}),
        ("never_zeroed", {}, {"leak", "curve", "params"}),
        ("nan_at_the_end", {}, {"params"}),
    ],
)
def test_a_loop_that_is_right_in_every_count_is_found_out(loop, changes, broken):
    """Each fault breaks the rules that are about it, and none that is about counts."""
    found = findings(books_of(loop, **changes))
    assert broken <= set(found), {name: entries[0] for name, entries in found.items()}
    assert not COUNTS & set(found)


def test_a_wrong_rate_shows_in_the_curve():
    """The learning rate is part of the curves."""
    found = findings(books_of("stale_rate"))
    assert {"schedule", "curve"} <= set(found)
    assert "learning rate" in found["curve"][0].got


def test_a_gradient_that_no_weighting_explains_is_named_as_that():
    """The weights may come out right and the gradient still hold something else."""
    (finding,) = findings(books_of("decay_in_gradient"))["weight"]
    assert "explained by no weighting" in finding.got or "times what it should be" in finding.got


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")  # torch has noticed the fault too
def test_suppressed_attempts_are_no_updates():
    """The same loop with and without the fault: only the faulty one breaks `skip`, and it does not end in `target`."""
    fp16 = {"precision": "fp16", "max_steps": 3}
    right = books_of("suppressed_not_counted", **fp16)
    assert right.observed.skipped_steps
    assert not findings(right)
    wrong = books_of("suppressed_counted", **(fp16 | {"max_steps": 30}))
    assert wrong.observed.skipped_steps
    assert {"skip", "claim", "target"} <= set(findings(wrong))


def test_a_finding_shows_the_envelope():
    """Value, envelope and multiple are in the finding, so that nobody has to believe a tolerance."""
    (finding,) = findings(books_of("mean_of_means"))["curve"]
    assert "±" in finding.expected
    assert "the envelope away" in finding.got
    assert "rounding noise of this run" in finding.formula
