"""Weights of a round: what each reduction gives a label token where several ranks share a window."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stepaudit.harness.contract import CONTRACTS, token_weight, window_weights
from stepaudit.harness.contract.reduction import rank_tokens
from written_ranks import SCENARIO, books_of_ranks, findings, record

DEALT = {0: ((0, 1),), 1: ((2,),), 2: ((3,),)}
TOKENS = {0: 4, 1: 4, 2: 2, 3: 6}
"""N = 16 label tokens on three ranks: 8, 2 and 6"""


@pytest.mark.parametrize(
    ("contract", "weights"),
    [
        ("token-mean", (1 / 16, 1 / 16, 1 / 16)),
        ("hf-5-own-tokens", (1 / (8 * 3), 1 / (2 * 3), 1 / (6 * 3))),
        ("fabric", (1 / (8 * 3), 1 / (2 * 3), 1 / (6 * 3))),
        ("accelerate-once", (1 / (8 * 2 * 3), 1 / (2 * 2 * 3), 1 / (6 * 2 * 3))),
    ],
)
def test_weights_of_three_ranks(contract, weights):
    """A window of one round where two were asked for; the rule holds for these weights and for no others."""
    scenario = SCENARIO.with_(rows=4, ranks=3, grad_accum=2)
    shared = dict(zip(range(4), (weights[0], *weights), strict=True))
    kept = record(DEALT, scenario, contract, tokens=TOKENS, shared=[shared])
    assert findings(kept, "weight") == []
    (update,) = books_of_ranks(kept).observed.done
    assert window_weights(CONTRACTS[contract], scenario, update) == pytest.approx(shared)
    wrong = record(DEALT, scenario, contract, tokens=TOKENS, shared=[shared | {3: 2 * weights[2]}])
    assert findings(wrong, "weight") != []


def test_the_tokens_of_a_rank():
    """In a round that not every rank has a part of, those that are missing have none."""
    (update,) = books_of_ranks(record(DEALT, SCENARIO.with_(rows=4, ranks=3), tokens=TOKENS)).observed.done
    assert [rank_tokens(update, rank) for rank in range(4)] == [8, 2, 6, 0]
    (whole,) = update.window
    ragged = replace(update, window=(whole, replace(whole, parts=whole.parts[:1])))
    assert [rank_tokens(ragged, rank) for rank in range(3)] == [16, 2, 6]


def test_one_rank_is_rank_0():
    """What is asked of a micro-batch without a rank is asked of the only one."""
    kept = replace(record(), others=())
    update = books_of_ranks(kept).observed.done[0]
    scenario = SCENARIO.with_(ranks=1)
    assert token_weight(CONTRACTS["hf-5-own-tokens"], scenario, update, update.window[0]) == 1 / 8


@pytest.mark.parametrize("contract", ["fabric", "accelerate-once"])
def test_a_micro_batch_without_label_tokens_has_none_to_weigh(contract):
    """Its weight is 0, and nothing is divided by it."""
    kept = record({0: ((0,), (1,)), 1: ((2,), (3,))}, SCENARIO.with_(rows=4), tokens={0: 0})
    update = books_of_ranks(kept).observed.done[0]
    assert token_weight(CONTRACTS[contract], SCENARIO, update, update.window[0].parts[0]) == 0.0


def test_rank_0_is_no_distance_from_itself():
    """Its books are the ones that the others are held against."""
    assert [rank.parameter_distance for rank in books_of_ranks(record(distance=0.5)).ranks] == [0.0, 0.5]
