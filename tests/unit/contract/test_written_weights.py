"""Weights, leaks and logged losses on ledgers written by hand: every bound with its neighbours, by precision."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from stepaudit.harness.contract import CONTRACTS, terms_of
from stepaudit.harness.contract.formulas import micro_batches_formula
from stepaudit.harness.ledger import Backward, Claims, EpochBegan, LogEntry, OptimizerStep, SchedulerStep
from stepaudit.scenarios import Scenario
from written_ledgers import books, finding, micro_batch, one_row_updates, reason, update

REAL = {"rows": 2, "max_steps": 1, "model": "tiny-llama", "tier": "numeric"}


def one(weights: dict[int, float] | None, **changes) -> list:
    """One update of a micro-batch with row 0."""
    return [EpochBegan(epoch=0), *micro_batch(0, [0]), *update(weights, **changes)]


class TestProjection:
    """Real models: a bound by precision, one for weights and one for what no weighting explains."""

    @pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("bf16", 2e-2), ("fp16", 5e-3)])
    @pytest.mark.parametrize("side", [-1, 1])
    def test_a_weight_may_be_off_by_its_rounding(self, precision, bound, side):
        """A share of itself, on either side."""
        for share, holds in ((0.9, True), (1.5, False)):
            weight = 0.25 * (1 + side * share * bound)
            cell = books(one({0: weight}, residual=0.0), **REAL, precision=precision)
            assert (finding("weight", cell) is None) is holds

    @pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("bf16", 5e-2), ("fp16", 1e-2)])
    def test_a_residual_may_be_rounding(self, precision, bound):
        """More of the gradient than rounding is explained by no weighting: that is a finding of its own."""
        for share, holds in ((0.9, True), (1.5, False)):
            cell = books(one({0: 0.25}, residual=share * bound), **REAL, precision=precision)
            assert (finding("weight", cell) is None) is holds

    @pytest.mark.parametrize(
        ("residual", "bound"),
        [(0.0, 1e-5), (9e-7, 1e-5), (1e-6, 1e-5), (1.1e-6, 1.1e-5), (5e-6, 5e-5), (1e-5, 1e-4)],
    )
    @pytest.mark.parametrize("side", [-1, 1])
    def test_in_fp32_ten_residuals_are_noise_and_never_less_than_the_bound(self, residual, bound, side):
        """max(1e-5, 10 · residual), to a thousandth of itself; the finding names the weight, not the residual."""
        for share, holds in ((0.999, True), (1.001, False)):
            weight = 0.25 * (1 + side * share * bound)
            found = finding("weight", books(one({0: weight}, residual=residual), **REAL))
            assert (found is None) is holds
            assert holds or "each label token of row 0 weighs" in found.text

    def test_noise_is_that_of_the_same_update(self):
        """A residual widens nothing in the update after it."""
        for residuals, holds in (((0.0, 5e-6), True), ((5e-6, 0.0), False)):
            events = one({0: 0.25}, residual=residuals[0])
            events += [*micro_batch(1, [1]), *update({1: 0.25 * (1 + 4e-5)}, residual=residuals[1])]
            found = finding("weight", books(events, **(REAL | {"max_steps": 2})))
            assert (found is None) is holds
            assert holds or found.update == 2

    @pytest.mark.parametrize(("precision", "bound"), [("bf16", 2e-2), ("fp16", 5e-3)])
    def test_in_half_precision_a_residual_is_no_noise(self, precision, bound):
        """Ten of them would hide a wrong divisor: the bound stays."""
        for share, holds in ((0.999, True), (1.001, False)):
            cell = books(one({0: 0.25 * (1 + share * bound)}, residual=9e-3), **REAL, precision=precision)
            assert (finding("weight", cell) is None) is holds

    def test_updates_that_were_not_sampled_are_not_judged(self):
        """Books of one update are enough; without any there is nothing to judge by; a run without updates holds."""
        unsampled = one(None)
        assert "no weight books" in reason("weight", books(unsampled, **REAL))
        assert "no weight books" in reason("leak", books(unsampled, **REAL))
        second = [*micro_batch(1, [1]), *update({1: 0.25}, residual=0.0)]
        assert finding("weight", books([*unsampled, *second], **(REAL | {"max_steps": 2}))) is None
        assert finding("weight", books([], **REAL)) is None

    def test_on_the_tracer_every_update_has_books(self):
        """One without is no ground to judge the others."""
        events = [*one({0: 0.25}), *micro_batch(1, [1]), *update(None)]
        assert "no weight books" in reason("weight", books(events, rows=2, epochs=1.0))

    @pytest.mark.parametrize(
        ("norm", "before", "weight"), [(1.0, 2.0, 0.125), (0.5, 0.5, 0.25), (1.0, 0.9, 0.25)]
    )
    def test_a_clip_by_own_code_is_known_from_the_replay(self, norm, before, weight):
        """The norm before clipping is the replay's; where it is below the limit nothing was clipped."""
        cell = books(one({0: weight}, residual=0.0, grad_norm=norm), **REAL, max_grad_norm=1.0)
        replayed = SimpleNamespace(updates=1, own=SimpleNamespace(grad_norms=(before,)))
        assert finding("weight", replace(cell, replay=replayed)) is None
        doubled = books(one({0: 2 * weight}, residual=0.0, grad_norm=norm), **REAL, max_grad_norm=1.0)
        assert finding("weight", replace(doubled, replay=replayed)) is not None

    def test_without_a_replay_or_a_norm_nothing_was_clipped(self):
        """The weights are taken as they are."""
        for norm, updates in ((1.0, None), (None, 1), (1.0, 0)):
            cell = books(one({0: 0.25}, residual=0.0, grad_norm=norm), **REAL, max_grad_norm=1.0)
            replayed = updates is not None and SimpleNamespace(
                updates=updates, own=SimpleNamespace(grad_norms=(9.0,))
            )
            assert finding("weight", replace(cell, replay=replayed or None)) is None


class TestWeight:
    """The tracer's weights are exact."""

    def test_a_row_that_weighs_nothing_is_said_so(self):
        """Absent from the gradient: 0, whatever its weight should be."""
        events = [EpochBegan(epoch=0), *micro_batch(0, [0, 1], [1, 1]), *update({0: 0.5})]
        found = finding("weight", books(events, rows=2, per_device_batch_size=2, epochs=1.0))
        assert found.got == "0, 0 times what it should be"
        assert "weighs 0 = nothing" in found.text
        alone = [EpochBegan(epoch=0), *micro_batch(0, [0], [1]), *update({})]
        assert finding("weight", books(alone, rows=1, epochs=1.0)).got == "0, 0 times what it should be"

    def test_a_foreign_row_is_a_leak_however_little_it_weighs(self):
        """0 is the bound."""
        found = finding("leak", books(one({0: 0.25, 1: 1e-15}), rows=2, max_steps=1))
        assert found.got == "1 more row, row 1 with weight 1e-15"


class TestLoggedLoss:
    """Which loss an entry may carry, to how many decimals."""

    def two(self, *losses: float, scale: float | None = None) -> list:
        """Updates of one row each with these losses; the loop's own scaling unseen unless given."""
        events: list = [EpochBegan(epoch=0)]
        for number, loss in enumerate(losses):
            forward = micro_batch(number, [number], loss=loss)[0]
            events += [forward, Backward(micro_batch=number, scale=scale), *update({number: 0.25})]
        return events

    def log(self, loss: float, at: int = 2) -> Claims:
        """One entry."""
        return Claims(
            log=(LogEntry(global_step=at, epoch=None, loss=loss, learning_rate=None, grad_norm=None),)
        )

    @pytest.mark.parametrize(("loss", "holds"), [(-2.0, True), (-3.0, True), (-1.0, False), (-4.0, False)])
    def test_the_mean_since_the_last_entry_or_the_last(self, loss, holds):
        """A trainer of one's own may do either; the mean is what is shown as expected."""
        cell = books(self.two(-1.0, -3.0), self.log(loss), rows=2, epochs=1.0, logging_steps=2)
        found = finding("log", cell)
        assert (found is None) is holds
        assert found is None or found.expected == "logged loss -2 at 2"

    @pytest.mark.parametrize(("loss", "holds"), [(-2.0, True), (-2.00004, True), (-2.0002, False)])
    def test_decimals_that_a_release_rounds_to(self, loss, holds):
        """Half a unit of the fourth decimal, no more."""
        asked = {"rows": 2, "epochs": 1.0, "logging_steps": 2, "loss_protocol": "none"}
        cell = books(self.two(-1.0, -3.0), self.log(loss), "hf-4.45", **asked)
        assert (finding("log", cell) is None) is holds

    def test_a_micro_batch_that_weighs_nothing_has_no_loss(self):
        """Nothing was descended."""
        forward = micro_batch(0, [0], loss=-5.0)[0]
        events = [EpochBegan(epoch=0), forward, Backward(micro_batch=0, scale=None), *update({0: 0.0})]
        found = finding("log", books(events, self.log(-5.0, at=1), rows=1, epochs=1.0, logging_steps=1))
        assert found.expected == "logged loss 0 at 1"


class TestSchedule:
    """A loop of one's own that never reads which schedule it was asked for."""

    @pytest.mark.parametrize("asked", ["cosine", "constant"])
    def test_another_schedule_than_the_usual_one_was_not_honoured(self, asked):
        """Whatever its scheduler does, it is not judged by what it never saw."""
        unread = Claims(unread=("lr_scheduler_type",))
        cell = books(one_row_updates(4, 4), unread, rows=4, epochs=1.0, lr_schedule=asked)
        assert "lr_scheduler_type" in reason("schedule", cell)


def test_the_first_micro_batch_without_a_step_is_named():
    """Of several that were computed and never stepped."""
    events = one_row_updates(2, 4)
    for number in (2, 3):
        events += micro_batch(number, [number])
    found = finding("remainder", books(events, rows=4, max_steps=2))
    assert found.got == "2 micro-batches computed and never stepped"
    assert found.text.startswith("micro-batch 2 is the first")
    assert found.event == next(at for at, item in enumerate(events) if getattr(item, "micro_batch", -1) == 2)


def test_a_run_without_any_scheduler_holds():
    """Constant rates, set by hand."""
    events = [event for event in one_row_updates(4, 4) if not isinstance(event, SchedulerStep)]
    assert any(isinstance(event, OptimizerStep) for event in events)
    assert finding("schedule", books(events, rows=4, epochs=1.0)) is None


@pytest.mark.parametrize(
    ("drop_last", "text"), [(False, "M = ceil(rows / (B·R)) = ceil(5 / (2·1)) = 3"), (True, "floor")]
)
def test_the_formula_of_the_micro_batches(drop_last, text):
    """The last micro-batch counts, or it does not."""
    scenario = Scenario(rows=5, per_device_batch_size=2, drop_last=drop_last)
    assert text in micro_batches_formula(scenario, terms_of(scenario, CONTRACTS["token-mean"]))
