"""What it means that a run and a contract agree: every figure equal, every rule holding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from fractions import Fraction

from cell_runs import broken_rules, unjudged_rules
from stepaudit.harness.contract import CellBooks, Reduction

__all__ = ["assert_agreement", "assert_equal_accounts", "assert_rules_hold", "assert_weights"]


def assert_agreement(books: CellBooks) -> None:
    """The account equals the expectation, figure by figure, and no rule has a finding."""
    assert_equal_accounts(books)
    assert_weights(books)
    assert_rules_hold(books)


def assert_equal_accounts(books: CellBooks) -> None:
    """Counts, windows, rates and claimed epochs, compared with `==`."""
    observed, expected, claimed, scenario = books.observed, books.expected, books.claimed, books.scenario
    T = expected.terms.T
    assert observed.optimizer_steps == expected.optimizer_steps
    assert observed.scheduler_steps == expected.scheduler_steps
    assert observed.micro_batches == expected.micro_batches
    assert observed.epochs_entered == expected.epochs_entered
    assert observed.windows == expected.windows
    assert observed.skipped_steps == 0
    assert observed.unstepped == ()
    assert [set(update.learning_rates) for update in observed.done] == [
        {rate} for rate in expected.learning_rates
    ]
    assert claimed.global_step == expected.optimizer_steps
    if expected.terms.M:
        assert claimed.planned_steps == {"state": T}
    done = expected.optimizer_steps
    if scenario.logging_steps:
        due = list(range(scenario.logging_steps, done + 1, scenario.logging_steps))
        assert [entry.global_step for entry in claimed.log] == due
        assert [point.optimizer_steps for point in observed.logs] == due
        for entry in claimed.log:
            if entry.epoch is not None:
                assert entry.epoch == _as_trainers_add(expected.epochs_after[entry.global_step - 1])
    for every, at, at_end in (
        (scenario.save_steps, claimed.saved_at, books.contract.saves_at_end),
        (scenario.eval_steps, claimed.evaluated_at, books.contract.evaluates_at_end),
    ):
        due = (
            sorted({*range(every, done + 1, every), *([done] if at_end and done else [])}) if every else None
        )
        assert (None if at is None else list(at)) == due
    if scenario.eval_steps:
        assert observed.evaluations == claimed.evaluated_at


def assert_weights(books: CellBooks) -> None:
    """Every label token of every window weighs the exact rational of the reduction, and nobody else anything."""
    reduction = books.contract.reduction[books.scenario.loss_protocol]
    for update in books.observed.done:
        due: dict[int, Fraction] = {}
        ranks = books.scenario.ranks
        own_tokens = Counter()
        for micro_batch in update.window:
            own_tokens.update(
                {rank: sum(share.label_tokens) for rank, share in enumerate(micro_batch.shares)}
            )
        for rank, share in (
            place for micro_batch in update.window for place in enumerate(micro_batch.shares)
        ):
            own = sum(share.label_tokens)
            divisor = {
                Reduction.TOKEN_MEAN: update.label_tokens,
                Reduction.TOKEN_MEAN_OF_RANKS: ranks * own_tokens[rank],
                Reduction.MEAN_OF_MEANS: own * len(update.window) * ranks,
                Reduction.MEAN_OVER_ACCUM: own * books.scenario.grad_accum * ranks,
            }[reduction]
            for row in share.rows:
                due[row] = due.get(row, Fraction(0)) + Fraction(1, divisor)
        factor = 1.0
        if update.clip is not None:
            factor = min(1.0, update.clip.max_norm / (update.clip.total_norm + 1e-6))
        assert set(update.weights) == set(due)
        for row, weight in update.weights.items():
            assert abs(weight - float(due[row]) * factor) <= 1e-13 * weight


def assert_rules_hold(books: CellBooks, known: Collection[str] = ()) -> None:
    """No rule but the known ones has a finding, and one that does not judge has nothing to judge by here."""
    assert set(broken_rules(books)) <= set(known), broken_rules(books)
    scenario, expected = books.scenario, books.expected
    may_pass = {
        "log": not scenario.logging_steps or books.claimed.log is None,
        "save": not scenario.save_steps,
        "eval": not scenario.eval_steps,
        "plan": expected.terms.M == 0,
        "epoch": not expected.optimizer_steps or books.claimed.epoch is None,
        "tokens": books.claimed.input_tokens is None,
    }
    for rule_id, reason in unjudged_rules(books).items():
        assert reason
        assert may_pass.get(rule_id), (rule_id, reason)


def _as_trainers_add(epoch: Fraction) -> float:
    """The float sum that a trainer makes: complete epochs plus a quotient."""
    whole = epoch.numerator // epoch.denominator
    rest = epoch - whole
    return whole + rest.numerator / rest.denominator
