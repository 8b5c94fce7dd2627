"""Clips: the bound at the limit, clips by a loop's own code, and what a clip leaves of the weights."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from stepaudit.harness.ledger import Clipped, EpochBegan
from written_ledgers import books, finding, micro_batch, update


def one(weights: dict[int, float] | None, *clips: Clipped, **changes) -> list:
    """One update of a micro-batch with row 0, clipped so."""
    return [EpochBegan(epoch=0), *micro_batch(0, [0]), *clips, *update(weights, **changes)]


class TestNorm:
    """The norm at the optimizer."""

    def cell(self, norm: float, limit: float, *clips: Clipped):
        """One update with this norm."""
        return books(one({0: 0.25}, *clips, grad_norm=norm), rows=1, epochs=1.0, max_grad_norm=limit)

    @pytest.mark.parametrize(
        ("share", "holds"),
        [(1.0, True), (1 + 0.5e-6, True), (1 + 1e-6, True), (1 + 2e-6, False), (1.5, False)],
    )
    def test_a_loop_that_clips_by_its_own_code_may_leave_out_the_epsilon(self, share, holds):
        """No clip was seen: the limit itself is right, to single precision, where torch would leave 1e-4 less."""
        assert (finding("clip", self.cell(0.01 * share, 0.01)) is None) is holds

    def test_a_seen_clip_has_the_epsilon(self):
        """torch's own leaves max_grad_norm / (norm + 1e-6) of it, not the limit."""
        assert finding("clip", self.cell(0.01, 0.01, Clipped(max_norm=0.01, total_norm=0.02))) is not None

    def test_nothing_was_clipped_although_it_should(self):
        """Numbers, formula, and that no clip was seen."""
        found = finding("clip", self.cell(3.0, 0.5))
        assert (found.expected, found.got) == ("gradient norm 0.5", "gradient norm 3")
        assert found.formula == "norm · min(1, max_grad_norm / (norm + 1e-6)) = 3 · min(1, 0.5 / 3)"
        assert found.text == "optimizer step 1 got a gradient of norm 3; no clipping was seen before it"

    def test_it_was_clipped_although_nobody_asked(self):
        """The clip was seen: the text does not say otherwise."""
        found = finding("clip", self.cell(1.0, 0.0, Clipped(max_norm=1.0, total_norm=2.0)))
        assert (found.expected, found.got) == ("gradient norm 2", "gradient norm 1")
        assert found.formula == "max_grad_norm = 0: no clipping"
        assert found.text == "optimizer step 1 got a gradient of norm 1"

    def test_a_gradient_of_nothing_is_as_it_was(self):
        """0 is near 0."""
        assert finding("clip", self.cell(0.0, 0.0)) is None

    def test_a_second_clip_of_the_whole_window_changes_next_to_nothing(self):
        """Both are counted: 2 is clipped to 0.001, and that once more."""
        clips = (Clipped(max_norm=1e-3, total_norm=2.0), Clipped(max_norm=1e-3, total_norm=1e-3))
        once = 2.0 * (1e-3 / (2.0 + 1e-6))
        twice = once * (1e-3 / (once + 1e-6))
        assert finding("clip", self.cell(twice, 1e-3, *clips)) is None
        assert finding("clip", self.cell(once, 1e-3, *clips)) is not None

    def test_every_update_is_looked_at(self):
        """The first is right, the second is not."""
        events = [*one({0: 0.25}, grad_norm=0.5), *micro_batch(1, [1]), *update({1: 0.25}, grad_norm=2.0)]
        assert finding("clip", books(events, rows=2, epochs=1.0, max_grad_norm=1.0)).update == 2

    def test_a_clip_of_a_part_that_lies_at_its_limit(self):
        """It takes the epsilon's share: that scales, and is found."""
        events = [EpochBegan(epoch=0), *micro_batch(0, [0]), Clipped(max_norm=1.0, total_norm=1.0)]
        events += [*micro_batch(1, [1]), *update({0: 0.125, 1: 0.125}, grad_norm=0.5)]
        found = finding("clip", books(events, rows=2, grad_accum=2, epochs=1.0, max_grad_norm=1.0))
        assert found.got == "a clip after 1 of 2 micro-batches"


class TestWeightsBehindOwnClips:
    """Row 0 with 4 label tokens and row 1 with 2, each 1 / 6: the gradient's norm is sqrt((4/6)² + (2/6)²) = 0.745."""

    NORM = (4**2 + 2**2) ** 0.5 / 6
    LIMIT = 0.5

    def cell(self, factor: float, norm: float | None, limit: float = LIMIT):
        """Both weights times `factor`, a gradient of this norm, no clip seen."""
        events = [EpochBegan(epoch=0), *micro_batch(0, [0], [4]), *micro_batch(1, [1], [2])]
        events += update({0: factor / 6, 1: factor / 6}, grad_norm=norm)
        return books(events, rows=2, grad_accum=2, epochs=1.0, max_grad_norm=limit)

    @pytest.mark.parametrize(("off", "holds"), [(0.0, True), (0.5e-5, True), (2e-5, False)])
    @pytest.mark.parametrize("side", [-1, 1])
    def test_the_ratio_of_the_norms_is_the_clip(self, off, holds, side):
        """Where the norm is the limit, to 1e-5: then the weights are right but for that ratio."""
        norm = self.LIMIT * (1 + side * off)
        assert (finding("weight", self.cell(norm / self.NORM, norm)) is None) is holds

    def test_a_wrong_weight_is_shown_without_the_clip(self):
        """Twice the weights, clipped by what was seen: they are twice what they should be."""
        events = one({0: 0.125}, Clipped(max_norm=1.0, total_norm=4.0 - 1e-6), grad_norm=1.0)
        cell = books(events, rows=1, epochs=1.0, max_grad_norm=1.0)
        found = finding("weight", cell)
        assert (found.expected, found.got) == ("0.25 a label token", "0.5, 2 times what it should be")
        assert (found.value, found.due) == (2.0, 1.0)

    @pytest.mark.parametrize("norm", [0.6, NORM, None])
    def test_a_norm_that_is_not_the_clipped_one_scales_nothing(self, norm):
        """The weights are taken as they are."""
        assert finding("weight", self.cell(1.0, norm)) is None

    def test_a_norm_below_the_limit_was_not_clipped(self):
        """However near the measured norm is to it."""
        near = self.NORM * (1 - 0.5e-5)
        assert finding("weight", self.cell(1.0, near, 0.8)) is None
        assert finding("weight", self.cell(1 - 0.5e-5, near, 0.8)) is not None

    def test_a_norm_at_the_limit_was_not_clipped(self):
        """Four tokens of 1 / 4 each have norm 1: a limit of 1 leaves them."""
        cell = books(one({0: 0.25}, grad_norm=1 - 0.5e-5), rows=1, epochs=1.0, max_grad_norm=1.0)
        assert finding("weight", cell) is None

    def test_without_a_limit_a_gradient_of_nothing_is_wrong(self):
        """It was not clipped away."""
        cell = books(one({}, grad_norm=0.0), rows=1, epochs=1.0)
        assert finding("weight", cell).got == "0, 0 times what it should be"

    def test_what_was_clipped_away_is_not_judged(self):
        """An infinite norm leaves nothing of any weight; the update after it is judged."""
        lost = one({}, Clipped(max_norm=1.0, total_norm=float("inf")), grad_norm=0.0)
        shape = {"rows": 2, "epochs": 1.0, "max_grad_norm": 1.0}
        right, wrong = (
            [*micro_batch(1, [1]), *update({1: weight}, grad_norm=None)] for weight in (0.25, 0.5)
        )
        assert finding("weight", books([*lost, *right], **shape)) is None
        assert finding("weight", books([*lost, *wrong], **shape)).update == 2


class TestRealModels:
    """Clips by own code, known from the replay's norms."""

    REAL = {"rows": 2, "max_steps": 2, "model": "tiny-llama", "tier": "numeric", "max_grad_norm": 1.0}  # noqa: RUF012

    def cell(self, weights: tuple[float, float], norms: tuple, before: tuple):
        """Two updates with these weights and norms, and the norms of the replay."""
        events = one({0: weights[0]}, residual=0.0, grad_norm=norms[0])
        events += [*micro_batch(1, [1]), *update({1: weights[1]}, residual=0.0, grad_norm=norms[1])]
        replayed = SimpleNamespace(updates=2, own=SimpleNamespace(grad_norms=before))
        return replace(books(events, **self.REAL), replay=replayed)

    def test_each_update_has_its_own_norm(self):
        """2 was clipped to 1, and 4 was."""
        assert finding("weight", self.cell((0.125, 0.0625), (1.0, 1.0), (2.0, 4.0))) is None
        assert finding("weight", self.cell((0.125, 0.125), (1.0, 1.0), (2.0, 4.0))).update == 2

    def test_a_norm_that_the_replay_lacks_was_not_clipped(self):
        """Whatever came to the optimizer."""
        cell = self.cell((0.25, 0.25), (0.5, 0.5), (None, None))
        cell = replace(cell, scenario=cell.scenario.with_(max_grad_norm=0.5))
        assert finding("weight", cell) is None

    @pytest.mark.parametrize("side", [-1, 1])
    def test_a_norm_at_the_limit_was_not_clipped(self, side):
        """Its rounding is not added to that of the weight."""
        weight = 0.25 * (1 + side * 0.9e-5)
        cell = self.cell((weight, 0.25), (1 - side * 0.9e-5, 0.5), (1.0, 0.5))
        assert finding("weight", cell) is None


def test_a_window_in_which_nothing_is_due_is_held_to_explain_its_gradient():
    """No label token weighs; a gradient that is there all the same is one that no row explains."""
    events = [EpochBegan(epoch=0), *micro_batch(0, [0], [0])]
    real = {"rows": 1, "max_steps": 1, "model": "tiny-llama", "tier": "numeric"}
    assert finding("weight", books([*events, *update({}, residual=0.0)], **real)) is None
    found = finding("weight", books([*events, *update({}, residual=1.0)], **real))
    assert found.got == "1 of its norm is explained by no weighting"
