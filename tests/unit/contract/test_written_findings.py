"""What `weight` and `leak` say of an update on one rank: which one, which row, its numbers and its formula."""

from __future__ import annotations

import math

import pytest
from stepaudit.harness.ledger import EpochBegan
from written_ledgers import books, finding, micro_batch, one_row_updates, reason, update

REAL = {"rows": 2, "max_steps": 2, "model": "tiny-llama", "tier": "numeric"}


def one(weights: dict[int, float] | None, tokens: int = 4, **changes) -> list:
    """One update of a micro-batch with row 0."""
    return [EpochBegan(epoch=0), *micro_batch(0, [0], [tokens]), *update(weights, **changes)]


def second(weights: dict[int, float] | None, tokens: int = 4, **changes) -> list:
    """One more, of row 1."""
    return [*micro_batch(1, [1], [tokens]), *update(weights, **changes)]


class TestWeight:
    """The numbers of a wrong weight."""

    @pytest.mark.parametrize(
        ("contract", "formula"),
        [
            ("token-mean", "1 / N = 1 / 4"),
            ("hf-5-own-tokens", "1 / (N_r·R) = 1 / (4·1)"),
            ("fabric", "1 / (n·W) = 1 / (4·1)"),
            ("lightning", "1 / (n·A) = 1 / (4·3)"),
        ],
    )
    def test_a_ratio_is_kept_to_nine_digits(self, contract, formula):
        """A third of what is due, by each reduction."""
        due = 1 / 12 if contract == "lightning" else 1 / 4
        cell = books(one({0: due / 3}), None, contract, rows=1, grad_accum=3, epochs=1.0)
        found = finding("weight", cell)
        assert found.formula == formula
        assert (found.value, found.due) == (0.333333333, 1.0)
        assert found.event == cell.observed.done[0].event

    def test_how_exactly_a_ratio_is_known(self):
        """Counts and the tracer's weights are exact, weights by projection to their rounding."""
        assert finding("weight", books(one({0: 0.5}), rows=1, epochs=1.0)).within == 0.0
        assert finding("weight", books(one({0: 0.5}, residual=0.0), **REAL)).within == 1e-5
        assert finding("target", books(one({0: 0.25}), rows=2, epochs=1.0)).within == 0.0

    def test_an_update_that_was_not_sampled_does_not_end_the_search(self):
        """The one after it is wrong."""
        events = [*one(None), *second({1: 0.5}, residual=0.0)]
        assert finding("weight", books(events, **REAL)).update == 2

    def test_weights_that_are_not_known_have_no_cause(self):
        """Where books have a residual only, no row weighs anything, and cosine and ratio are not made up."""
        found = finding("weight", books(one(None, residual=0.0), **REAL))
        assert found.text == "in optimizer step 1 each label token of row 0 weighs 0 = nothing"

    def test_the_first_update_has_none_before_it(self):
        """Divided by the tokens of the last window: that one is no cause."""
        events = [*one({0: 1 / 4}, tokens=6), *second({1: 1 / 4}, tokens=4)]
        assert "window before" not in finding("weight", books(events, rows=2, epochs=1.0)).text

    def test_a_gradient_that_is_no_number(self):
        """NaN is a finding, though no weight is known."""
        found = finding("weight", books(one(None, residual=math.nan), **REAL))
        assert found.got == "nan of its norm is explained by no weighting"
        assert found.due == 0.0
        assert math.isnan(found.value)


class TestRowsWithoutLabels:
    """A row of the tracer's data that comes to the model without its label tokens."""

    @pytest.mark.parametrize(
        ("row", "tokens", "shape", "contract", "is_found"),
        [
            (1, 0, {}, "token-mean", True),
            (1, 4, {}, "token-mean", False),
            (2, 0, {}, "token-mean", False),  # no row of the data: they are 0 and 1
            (1, 0, {}, "trl-sft-packing", False),  # a piece of a row may have none
            (1, 0, {"model": "tiny-llama", "tier": "numeric"}, "token-mean", False),
        ],
    )
    def test_which_rows_must_have_some(self, row, tokens, shape, contract, is_found):
        """Those of the tracer, as far as its data go, where they are not cut into pieces."""
        weights = {0: 1 / (4 + tokens)} | ({row: 1 / (4 + tokens)} if tokens else {})
        events = [EpochBegan(epoch=0), *micro_batch(0, [0, row], [4, tokens]), *update(weights, residual=0.0)]
        asked = {"rows": 2, "per_device_batch_size": 2, "max_steps": 1}
        found = finding("weight", books(events, None, contract, **(asked | shape)))
        assert (found is not None) is is_found
        if found:
            assert found.expected.endswith(f"of row {row} in the loss")
            assert (found.got, found.value, found.due) == ("none", 0.0, 1.0)
            assert found.text == f"micro-batch 0 of optimizer step 1 has row {row} without its labels"


class TestLeak:
    """A row outside the window."""

    def test_an_update_without_weights_does_not_end_the_search(self):
        """The one after it leaks."""
        events = [*one({}), *second({1: 0.25, 0: 0.125})]
        found = finding("leak", books(events, rows=2, max_steps=2))
        assert found.update == 2
        assert found.got == "1 more row, row 0 with weight 0.125"
        assert found.expected == "only the 1 row of the window in optimizer step 2"

    def test_a_weight_of_nothing_is_no_leak(self):
        """Written down or not."""
        assert finding("leak", books(one({0: 0.25, 1: 0.0}), rows=2, max_steps=1)) is None

    @pytest.mark.parametrize(("share", "holds"), [(0.9, True), (1.1, False)])
    @pytest.mark.parametrize("side", [-1, 1])
    def test_by_projection_rounding_is_a_share_of_the_heaviest(self, share, holds, side):
        """1e-5 of 1 / 4, of either sign."""
        foreign = side * share * 1e-5 * 0.25
        cell = books(one({0: 0.25, 1: foreign}, residual=0.0), **REAL)
        assert (finding("leak", cell) is None) is holds

    def test_two_rows_have_a_plural(self):
        """The first is named."""
        found = finding("leak", books(one({0: 0.25, 2: 0.1, 1: 0.2}), rows=3, max_steps=1))
        assert found.got == "2 more rows, row 2 with weight 0.1"


def test_a_run_without_updates_holds_and_one_without_books_is_not_judged():
    """On the tracer all updates must have books."""
    assert finding("leak", books([], rows=1, epochs=1.0)) is None
    assert "no weight books" in reason("leak", books(one(None), rows=1, epochs=1.0))
    assert finding("leak", books(one_row_updates(2, 2), rows=2, epochs=1.0)) is None
