"""Terms, accounts and formulas with their numbers written out: what each contract promises where contracts differ."""

from __future__ import annotations

import pytest
from stepaudit.harness.contract import CONTRACTS, LoggedLoss, Reduction, contract_named, expect, terms_of
from stepaudit.harness.contract.formulas import (
    epochs_formula,
    target_formula,
    updates_formula,
    weight_formula,
)
from stepaudit.scenarios import LossProtocol, Scenario

SHAPE = {"per_device_batch_size": 1}
EMPTY = {"rows": 1, "per_device_batch_size": 2, "drop_last": True}


@pytest.mark.parametrize(
    ("contract", "asked", "T", "E"),
    [
        ("lightning", {"max_steps": 4, "epochs": 9.0}, 4, 2),
        ("lightning", {"max_steps": 6, "epochs": 9.0}, 6, 2),
        ("lightning", {"max_steps": 9, "epochs": 1.0}, 3, 1),
        ("lightning", {"epochs": 1.5}, 5, 2),
        ("hf-5", {"max_steps": 4, "epochs": 1.0}, 4, 2),
        ("hf-5", {"max_steps": 0, "epochs": 1.5}, 5, 2),
        ("hf-4.45", {"max_steps": 4}, 4, 2),
        ("hf-4.45", {"epochs": 1.5}, 3, 2),
    ],
)
def test_updates_and_epochs(contract, asked, T, E):
    """5 micro-batches an epoch, 2 a window: 3 updates, or 2 where the short window is not counted."""
    terms = terms_of(Scenario(rows=5, grad_accum=2, **SHAPE, **asked), CONTRACTS[contract])
    assert (terms.T, terms.E) == (T, E)


@pytest.mark.parametrize(
    ("A", "windows"), [(2, (2, 2, 2, 2)), (3, (3, 3)), (4, (3, 1, 2, 2)), (7, (3, 3, 1))]
)
def test_windows_across_epochs(A, windows):
    """3 micro-batches an epoch: every A-th closes a window and, where an epoch fits into one, its end does."""
    scenario = Scenario(rows=3, grad_accum=A, max_steps=len(windows), **SHAPE)
    assert expect(scenario, CONTRACTS["hf-4.45"]).windows == windows


@pytest.mark.parametrize("contract", ["accelerate-accumulate", "accelerate-once"])
def test_a_schedule_that_advances_for_every_rank_is_that_much_longer(contract):
    """Warm-up and length too: the updates have the same rates."""
    scenario = Scenario(rows=8, ranks=2, warmup_steps=2, learning_rate=0.01, epochs=1.0, **SHAPE)
    expected = expect(scenario, CONTRACTS[contract])
    assert expected.learning_rates == pytest.approx((0.0, 0.005, 0.01, 0.005), abs=1e-15)
    assert expected.scheduler_steps == (8 if contract == "accelerate-accumulate" else 4)


def test_where_nothing_can_be_trained_nothing_is_expected():
    """No micro-batch, no epoch, and formulas that say so; one micro-batch is enough for others."""
    contract = CONTRACTS["hf-5"]
    empty = Scenario(**EMPTY)
    expected = expect(empty, contract)
    assert (expected.micro_batches, expected.epochs_entered, expected.optimizer_steps) == (0, 0, 0)
    assert target_formula(empty, expected.terms, contract).endswith("= 0: nothing to train, T = 0")
    assert epochs_formula(empty, expected.terms) == "E = 0: nothing to train"
    one = Scenario(rows=1, epochs=1.0, **SHAPE)
    assert target_formula(one, terms_of(one, contract), contract).startswith(
        "T = ceil(epochs·U) = ceil(1·1) = 1"
    )
    assert epochs_formula(one, terms_of(one, contract)) == "E = ceil(epochs) = ceil(1) = 1"


@pytest.mark.parametrize(
    ("contract", "updates", "target"),
    [
        ("hf-5", "U = max(M // A + (M % A > 0), 1) = max(2 + 1, 1) = 3", "overrides epochs)"),
        (
            "hf-4.45",
            "U = max(M // A, 1) = max(5 // 2, 1) = 2",
            "overrides epochs), at most what 2 epochs of M = 5 micro-batches give",
        ),
        (
            "lightning",
            "U = max(M // A + (M % A > 0), 1) = max(2 + 1, 1) = 3",
            "min(4, ceil(1·3)) = 3 (whichever comes first); U = max(M // A + (M % A > 0), 1) = max(2 + 1, 1) = 3",
        ),
    ],
)
def test_formulas_of_the_updates(contract, updates, target):
    """5 micro-batches an epoch, 2 a window, 4 updates asked for."""
    scenario = Scenario(rows=5, grad_accum=2, max_steps=4, epochs=1.0, **SHAPE)
    terms = terms_of(scenario, CONTRACTS[contract])
    assert updates_formula(terms, CONTRACTS[contract]) == updates
    assert target_formula(scenario, terms, CONTRACTS[contract]).endswith(target)


@pytest.mark.parametrize(
    ("contract", "alone", "on_ranks"),
    [
        (
            "token-mean",
            "1 / N (N = label tokens of the window)",
            "1 / N (N = label tokens of the window, over all 2 ranks)",
        ),
        ("hf-5-own-tokens", "1 / N", "1 / (N_r·R) (N_r = label tokens of the window on its own rank)"),
        (
            "fabric",
            "1 / (n·W) (n = label tokens of the micro-batch, W = micro-batches of the window)",
            "1 / (n·W·R) (n = label tokens of the micro-batch, W = micro-batches of the window)",
        ),
        (
            "lightning",
            "1 / (n·A) (n = label tokens of the micro-batch)",
            "1 / (n·A·R) (n = label tokens of the micro-batch)",
        ),
    ],
)
def test_the_formula_of_a_weight(contract, alone, on_ranks):
    """In symbols, on one rank and on two."""
    for ranks, text in ((1, alone), (2, on_ranks)):
        assert weight_formula(Scenario(ranks=ranks), CONTRACTS[contract]) == text


M, S, A, T = (
    Reduction.MEAN_OF_MEANS,
    Reduction.TOKEN_MEAN_OF_RANKS,
    Reduction.MEAN_OVER_ACCUM,
    Reduction.TOKEN_MEAN,
)
SINCE, TOKENS, LAST = (
    LoggedLoss.MEAN_SINCE_LAST_LOG,
    LoggedLoss.TOKEN_MEAN_SINCE_LAST_LOG,
    LoggedLoss.MEAN_OR_LAST,
)


@pytest.mark.parametrize(
    ("name", "reduction", "logged", "said"),
    [
        ("hf-5", (M, T, M, T), SINCE, "used eval save"),
        ("hf-5-own-tokens", (M, S, M, S), SINCE, "used eval save"),
        ("hf-4.45", (A, A, A, A), SINCE, "across floor save 4"),
        ("hf-4.46", (M, T, M, T), SINCE, "across floor save 4"),
        ("hf-4.57", (M, T, M, T), SINCE, "used save 4"),
        ("token-mean", (T, T, T, T), LAST, "used eval save"),
        ("fused", (T, T, T, T), TOKENS, "used eval save"),
        ("accelerate-accumulate", (A, A, A, A), LAST, "each used eval save"),
        ("accelerate-once", (A, A, A, A), LAST, "used eval save"),
        ("lightning", (A, A, A, A), SINCE, "first used"),
        ("fabric", (M, M, M, M), LAST, "used eval save"),
        ("trl-sft", (M, T, T, T), SINCE, "used eval save"),
        ("trl-sft-packing", (M, T, T, T), SINCE, "packed used eval save"),
    ],
)
def test_what_a_contract_promises(name, reduction, logged, said):
    """Weights for no, a honoured, an ignored and an overridden divisor; the logged loss; and all else."""
    contract = contract_named(name)
    protocols = (LossProtocol.NONE, LossProtocol.HONOURED, LossProtocol.IGNORED, LossProtocol.OVERRIDDEN)
    assert tuple(contract.reduction[protocol] for protocol in protocols) == reduction
    assert contract.logged_loss is logged
    words = {
        "across": contract.windows == "across_epochs",
        "floor": contract.floor_updates,
        "first": contract.horizon == "whichever_first",
        "packed": contract.rows_per_sequence == 2,
        "each": contract.advances_per_rank,
        "used": contract.logs_used_rate,
        "eval": contract.evaluates_at_end,
        "save": contract.saves_at_end,
        "4": contract.logged_decimals == 4,
    }
    assert {word for word, holds in words.items() if holds} == set(said.split())
    assert contract.rows_per_sequence in (1, 2)
    assert contract.logged_decimals in (None, 4)
