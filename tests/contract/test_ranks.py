"""The contracts over several ranks against the real trainers, started by torchrun's agent on gloo; drawn, and few."""

from __future__ import annotations

import importlib

import pytest
from agreement import assert_agreement
from cell_runs import books_of, broken_rules, run_cell
from drawn_scenarios import has_long_window, scenarios
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from stepaudit.harness.contract import RULES
from stepaudit.harness.ledger import Outcome
from stepaudit.harness.subjects import resolve
from stepaudit.harness.workloads.rows import EVAL_ROWS
from stepaudit.scenarios import DatasetKind, LossProtocol, Scenario

FEW = settings(
    max_examples=5,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
PADDED = Scenario(rows=9, grad_accum=2, epochs=2, ranks=2)
"""three rounds of four places an epoch, for nine rows"""


@pytest.fixture(scope="module", autouse=True)
def warm():
    """What a rank needs is imported once, in the process that they are forked from."""
    from stepaudit.harness.running.ranks import LAUNCHER

    for name in LAUNCHER:
        importlib.import_module(name)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "subject", ["hf", "hf-own-tokens", "accelerate", "accelerate-split-batches", "fused", "plain"]
)
@FEW
@given(
    scenario=scenarios(protocols=(LossProtocol.NONE, LossProtocol.HONOURED)),
    ranks=st.sampled_from([2, 2, 3]),
)
def test_the_contract_is_what_a_trainer_does_on_ranks(subject, scenario, ranks):
    """Counts, windows, rates, claims and the weight of every row over all ranks are what the contract predicts."""
    scenario = scenario.with_(ranks=ranks)
    assume(resolve(subject).supports(scenario) is None)
    books = books_of(subject, scenario)
    if subject == "accelerate":  # its schedule is built R times as long: the quotients round differently
        assert broken_rules(books) == {}
    else:
        assert_agreement(books)


@pytest.mark.parametrize("subject", ["hf", "accelerate", "fused", "plain"])
def test_the_last_round_is_padded_by_design(subject):
    """Each row once an epoch, and those that fill the last round twice: named by the ledger, no deviation."""
    books = books_of(subject, PADDED)
    assert broken_rules(books) == {}
    assert RULES["ranks"].judge(books) == []
    first = [row for update in books.observed.done[:2] for row in update.rows]
    assert set(first) == set(range(9))
    # torch's DistributedSampler evens out the rows of the ranks, accelerate's shards their micro-batches too
    assert len(first) == (10 if subject == "plain" else 12)


class TestWhereTrainerItselfDeviates:
    """The known deviations of `hf` over ranks: the factor R that Trainer multiplies the loss with, or does not."""

    def test_ignored_divisor(self):
        """A model that takes `**kwargs` and ignores the divisor: weights are R times too large, and W times."""
        scenario = Scenario(rows=8, ranks=2, loss_protocol="ignored", lengths="equal")
        assert broken_rules(books_of("hf", scenario))["weight"][0].value == 2
        long = scenario.with_(grad_accum=2)
        assert has_long_window(long)
        assert broken_rules(books_of("hf", long))["weight"][0].value == 4

    def test_overridden_loss(self):
        """A `compute_loss` that divides by the divisor it is handed: weights are R times too small."""
        broken = broken_rules(books_of("hf", PADDED.with_(loss_protocol="overridden")))
        assert list(broken) == ["weight"]
        assert broken["weight"][0].value == 0.5


@pytest.mark.parametrize(
    ("subject", "fields", "reason"),
    [
        ("fused", {"dataset": DatasetKind.ITERABLE, "max_steps": 3}, "cannot deal the rows out"),
        ("plain", {"dataset": DatasetKind.ITERABLE, "max_steps": 3}, "DistributedSampler"),
        ("hf", {"ranks": 3, "eval_steps": 1, "drop_last": True}, f"the {EVAL_ROWS} evaluation rows"),
        ("hf", {"resume_at": 1}, "resumption is audited on one rank only"),
        ("hf", {"tier": "numeric", "model": "tiny-llama"}, "rows of all ranks in one process"),
        ("unsloth-zoo@2024.10.0", {}, "one process only"),
    ],
)
def test_what_cannot_run_says_why(subject, fields, reason):
    """A pairing that several ranks rule out is unsupported, with the reason."""
    assert reason in resolve(subject).supports(PADDED.with_(**fields))


def test_a_run_without_end_is_stopped_on_all_ranks():
    """Trainer never steps where a pass over an unsized dataset is shorter than a window: a finding, not a hang."""
    record = run_cell("hf", Scenario(rows=4, grad_accum=8, max_steps=2, dataset="iterable", ranks=2))
    assert record.outcome is Outcome.COMPLETED, record.error
    assert [len(other.events) > 0 for other in record.others] == [True]
