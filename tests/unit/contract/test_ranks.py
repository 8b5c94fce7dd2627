"""Several ranks: the union of their ledgers, padding, and what the rule `ranks` finds; ledgers written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stepaudit.harness.contract import CONTRACTS, NotJudged, draw_up, expect
from stepaudit.harness.ledger import record_from_json, record_to_json
from stepaudit.scenarios import Scenario
from written_ranks import DEALT, SCENARIO, SHARED, findings, ledger, record


def test_the_union_is_one_run():
    """Update k has the rows and tokens of all ranks, a window of as many rounds as each rank has micro-batches."""
    observed = draw_up(record(), CONTRACTS["token-mean"]).observed
    assert observed.windows == (1, 1)
    assert [update.rows for update in observed.done] == [(0, 1, 2, 3), (4, 0, 1, 2)]
    assert [update.label_tokens for update in observed.done] == [16, 16]
    assert observed.micro_batches == 2
    assert [part.rows for part in observed.done[1].window[0].shares] == [(4, 0), (1, 2)]


@pytest.mark.parametrize(
    "rule", ["target", "window", "remainder", "coverage", "ranks", "weight", "leak", "claim"]
)
def test_a_padded_run_conforms(rule):
    """Rows that fill the last round are read twice by design, and weigh twice where both reads are in one window."""
    assert findings(record(), rule) == []


@pytest.mark.parametrize(
    ("dealt", "rule", "says"),
    [
        ({0: ((0, 1), (4, 0)), 1: ((0, 1), (4, 0))}, "ranks", "row 0 on ranks 0, 1"),
        ({0: ((0, 1), (4, 2)), 1: ((2, 3), (0, 4))}, "ranks", ""),
        ({0: ((0, 1), (0, 2)), 1: ((2, 3), (1, 3))}, "coverage", "row 0 2 times"),
    ],
    ids=["the same rows", "padding of the right size", "more than the places that padding fills"],
)
def test_rows_are_dealt_out(dealt, rule, says):
    """A row on two ranks is found unless it may be padding of the last round."""
    found = findings(record(dealt), rule)
    assert [says in finding.got for finding in found] == ([True] if says else [])


def test_a_row_twice_before_the_last_round_is_no_padding():
    """Padding fills the last round of an epoch and nothing else."""
    (finding,) = findings(record({0: ((0, 1), (4, 2)), 1: ((0, 3), (1, 2))}))
    assert "row 0" in finding.got


def test_drop_last_leaves_no_room_for_padding():
    """Where the incomplete round is dropped, no row is read twice."""
    scenario = replace(SCENARIO, rows=9, drop_last=True)
    assert findings(record({0: ((0, 1), (4, 5)), 1: ((2, 3), (6, 7))}, scenario)) == []
    (finding,) = findings(record({0: ((0, 1), (4, 5)), 1: ((2, 3), (6, 0))}, scenario))
    assert "row 0 on ranks 0, 1" in finding.got


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"windows": DEALT[1][:1], "weights": SHARED[:1], "claims": 1}, "1 on rank 1"),
        ({"weights": [SHARED[0], {2: 0.125}]}, "row 4 weighs 0.0625 on rank 0 and 0 on rank 1"),
        ({"weights": [SHARED[0], {row: weight / 2 for row, weight in SHARED[1].items()}]}, "on rank 1"),
        ({"rate": 0.02}, "lr 0.02 on rank 1"),
        ({"claims": 3}, "global_step = 3"),
        ({"distance": 1e-3}, "differs by 0.001"),
        ({"distance": float("nan")}, "differs by nan"),
        ({"distance": float("inf")}, "differs by inf"),
    ],
    ids=[
        "fewer updates",
        "not averaged",
        "another factor",
        "rate",
        "claim",
        "parameters",
        "nan",
        "other model",
    ],
)
def test_ranks_that_part_are_found(other, says):
    """Updates, gradient, rate, claim and final parameters of every rank are rank 0's."""
    (finding,) = findings(record(**other))
    assert says in finding.got
    assert finding.expected != finding.got


def test_a_window_of_another_size_is_found():
    """Windows close at the same micro-batch on all ranks."""
    kept = record()
    other = kept.others[0]
    late = (*other.events[5:7], *other.events[:5], *other.events[7:])
    (finding,) = findings(replace(kept, others=(replace(other, events=late),)))
    assert finding.got == "2 on rank 1"


def test_gradients_added_in_another_order_agree():
    """A few roundings apart is no deviation."""
    nearly = [{row: weight * (1 + 1e-15) for row, weight in part.items()} for part in SHARED]
    assert findings(record(weights=nearly, distance=1e-16)) == []


def test_one_rank_has_nothing_to_agree_with():
    """The rule is not judged, and not passed, on one rank."""
    assert isinstance(findings(replace(record(), others=())), NotJudged)


def test_weights_are_those_of_the_union():
    """Every label token weighs 1/N over all ranks: the mean of each rank's own mean is found, and named."""
    dealt = {0: ((0, 1),), 1: ((2,),)}
    scenario = replace(SCENARIO, rows=3)
    own = [{0: 1 / 16, 1: 1 / 16, 2: 1 / 8}]
    kept = replace(record(dealt, scenario), events=ledger(dealt[0], own))
    (finding,) = findings(kept, "weight")
    assert finding.formula == "1 / N = 1 / 12 over 2 ranks"
    assert "each rank divides by its own tokens" in finding.text


def test_records_of_several_ranks_survive_the_wire():
    """Ledgers, claims and distances of all ranks come back as they were, infinities included."""
    kept = record(distance=float("inf"))
    assert record_from_json(record_to_json(kept)) == kept
    assert kept.digest() != replace(kept, others=()).digest()


def test_a_record_of_one_rank_says_nothing_of_others():
    """What was stored before there were ranks reads and writes as it did."""
    kept = replace(record(), others=())
    assert "others" not in record_to_json(kept)
    assert record_from_json(record_to_json(kept)) == kept


@pytest.mark.parametrize("schedule", ["linear", "cosine", "cosine_with_restarts", "constant_with_warmup"])
def test_a_schedule_that_advances_once_a_rank_gives_the_same_rates(schedule):
    """Accelerate's schedule is built R times as long and advances R times an update: the rates are the same."""
    scenario = Scenario(rows=40, ranks=3, warmup_steps=2, lr_schedule=schedule)
    once = expect(scenario, CONTRACTS["token-mean"])
    each = expect(scenario, CONTRACTS["accelerate-accumulate"])
    assert each.learning_rates == pytest.approx(once.learning_rates, rel=1e-12)
    assert each.scheduler_steps == 3 * once.scheduler_steps
