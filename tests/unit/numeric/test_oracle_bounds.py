"""The oracles on a model of a few numbers, whose gradients are known by hand: bounds, rows without labels, sketches."""

from __future__ import annotations

import math

import pytest
import torch
from stepaudit.harness.oracle import projection
from stepaudit.harness.oracle.losses import autocast_of, row_losses
from stepaudit.harness.oracle.projection import Projection
from tiny_model import Bigrams, row_of
from torch import nn


def give(model: nn.Module, weights: dict[int, float], noise: float = 0.0) -> nn.Module:
    """Leave the weighted gradients of these rows in the model, and one number of something else."""
    model.zero_grad()
    for row, weight in weights.items():
        (row_losses(model, row_of(row)).sum() * weight).backward()
    if noise:
        model.table.grad[0, 0] += noise
    return model


class TestLosses:
    """What both oracles differentiate."""

    def test_a_row_is_the_sum_of_its_token_losses(self):
        """Each label from the word before it; the first word is nobody's label, and -100 is none."""
        model = Bigrams()
        batch = row_of(2)
        batch["labels"][0, 2] = -100
        log_p = torch.log_softmax(model.table, dim=1)
        words = batch["input_ids"][0]
        by_hand = -(log_p[words[0], words[1]] + log_p[words[2], words[3]])
        (loss,) = row_losses(model, batch)
        assert loss.item() == pytest.approx(by_hand.item(), rel=1e-12)

    @pytest.mark.parametrize(
        ("dtype", "summed"),
        [
            (torch.float64, torch.float64),
            (torch.float32, torch.float32),
            (torch.bfloat16, torch.float32),
        ],
    )
    def test_losses_are_summed_in_float32_at_the_least(self, dtype, summed):
        """A float64 model keeps float64."""
        assert row_losses(Bigrams(dtype), row_of(0)).dtype is summed

    @pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
    def test_autocast_is_the_runs_own(self, dtype):
        """None switches off what the caller has switched on."""
        device = torch.device("cpu")
        with torch.autocast("cpu", torch.bfloat16), autocast_of(dtype, device):
            assert torch.is_autocast_enabled("cpu") is (dtype is not None)
            assert dtype is None or torch.get_autocast_dtype("cpu") is dtype


class TestProjection:
    """Weights of rows in a gradient."""

    def weigh(self, weights: dict[int, float], rows: list[int], **options):
        """A gradient of these weights, weighed among these rows."""
        return Projection(Bigrams(), row_of, **options).weigh(give(Bigrams(), weights), rows)

    def test_rows_may_be_repeated_or_have_no_labels(self):
        """Each is weighed once; rows without a label behind the shift are left out."""
        found = self.weigh({0: 0.5, 1: 0.25, 7: 2.0}, [0, 1, 0, 7, 8, 9])
        assert found.weights == pytest.approx({0: 0.5, 1: 0.25, 7: 2.0}, rel=1e-9)
        assert found.residual < 1e-12

    def test_a_gradient_in_a_window_without_labels(self):
        """Nothing explains it, and nothing weighs."""
        found = self.weigh({0: 0.5}, [8, 9])
        assert (found.weights, found.residual) == ({}, 1.0)

    def test_a_gradient_that_was_left_to_a_window_without_labels(self):
        """The row of the window before is named, where it explains ten times more than nothing does."""
        for noise, weights in ((0.0, {3: 1.0}), (0.05, {3: 1.0}), (0.2, {})):
            projected = Projection(Bigrams(), row_of)
            left = give(Bigrams(), {3: 1.0})
            projected.weigh(left, [3])
            left.unused.grad = torch.tensor([noise * left.table.grad.norm().item(), 0.0], dtype=torch.float64)
            assert projected.weigh(left, [8]).weights == pytest.approx(weights)

    def test_only_trained_parameters_are_weighed(self):
        """Those of the subject; whatever the twin's may be."""
        subject, twin = Bigrams(), Bigrams()
        subject.unused.requires_grad_(False)
        twin.table.requires_grad_(False)
        found = Projection(twin, row_of).weigh(give(subject, {0: 0.5}), [0])
        assert found.weights == pytest.approx({0: 0.5}, rel=1e-9)

    def test_a_gradient_of_nothing(self):
        """No weights, and nothing left to explain."""
        found = self.weigh({}, [0, 1])
        assert (found.weights, found.residual) == ({}, 0.0)

    def test_a_model_that_was_rebuilt(self):
        """Other shapes or other names: nothing can be told."""
        projected = Projection(Bigrams(), row_of)
        other = Bigrams()
        other.unused = nn.Parameter(torch.ones(3, dtype=torch.float64))
        found = projected.weigh(give(other, {0: 0.5}), [0])
        assert (found.weights, found.residual) == (None, None)

    def test_every_second_update(self):
        """The first, the third, and so on."""
        projected = Projection(Bigrams(), row_of, every=2)
        told = [projected.weigh(give(Bigrams(), {0: 0.5}), [0]).residual is not None for _ in range(4)]
        assert told == [True, False, True, False]

    @pytest.mark.parametrize(("autocast", "bound"), [(None, 1e-3), (torch.bfloat16, 0.05)])
    @pytest.mark.parametrize(("share", "is_tried"), [(0.7, False), (1.4, True)])
    def test_the_window_before_is_tried_where_the_residual_is_suspicious(
        self, autocast, bound, share, is_tried
    ):
        """A leak of row 3 that leaves more than the bound is named, one that leaves less is rounding."""
        projected = Projection(Bigrams(), row_of, autocast=autocast)
        projected.weigh(give(Bigrams(), {3: 1.0}), [3])
        norm = math.sqrt(sum(float(p.grad.norm()) ** 2 for p in [give(Bigrams(), {0: 1.0}).table]))
        leak = math.sqrt(sum(float(p.grad.norm()) ** 2 for p in [give(Bigrams(), {3: 1.0}).table]))
        weight = share * bound * norm / leak
        found = projected.weigh(give(Bigrams(), {0: 1.0, 3: weight}), [0])
        assert set(found.weights) == ({0, 3} if is_tried else {0})
        if is_tried:
            assert found.weights[3] == pytest.approx(weight, rel=1e-6)

    def test_the_window_before_must_explain_ten_times_more(self):
        """Where it does not, its rows are no leak, and the residual stays."""
        projected = Projection(Bigrams(), row_of)
        projected.weigh(give(Bigrams(), {3: 1.0}), [3])
        found = projected.weigh(give(Bigrams(), {0: 1.0, 3: 0.05}, noise=0.5), [0])
        assert set(found.weights) == {0}
        assert found.residual > 0.1

    @pytest.mark.parametrize(("share", "is_leak"), [(0.097, True), (0.103, False)])
    def test_ten_times_more_is_the_bound(self, share, is_leak):
        """What is left with the rows of the window before, as a share of what is left without them."""
        projected = Projection(Bigrams(), row_of)
        projected.weigh(give(Bigrams(), {3: 1.0}), [3])
        own = give(Bigrams(), {0: 1.0}).table.grad.flatten()
        leaked = give(Bigrams(), {3: 1.0}).table.grad.flatten()
        alone = (leaked - own * (leaked @ own) / (own @ own)).norm().item()
        subject = give(Bigrams(), {0: 1.0, 3: 1.0})
        noise = alone * share / math.sqrt(1 - share**2)
        subject.unused.grad = torch.tensor([noise, 0.0], dtype=torch.float64)
        assert (3 in projected.weigh(subject, [0]).weights) is is_leak

    @pytest.mark.parametrize(
        ("alone", "wider", "is_leak"), [(1e-3, 1e-9, False), (1.001e-3, 1e-9, True), (1.0, 0.1, False)]
    )
    def test_residuals_at_the_bounds_themselves(self, monkeypatch, alone, wider, is_leak):
        """1e-3 is not suspicious, and a tenth is not less than a tenth."""
        projected = Projection(Bigrams(), row_of)
        projected.weigh(give(Bigrams(), {3: 1.0}), [3])
        monkeypatch.setattr(projection, "_residual", lambda _, rows, __: alone if len(rows) == 1 else wider)
        assert (3 in projected.weigh(give(Bigrams(), {0: 1.0, 3: 1.0}), [0]).weights) is is_leak

    def test_a_row_of_both_windows_weighs_what_both_say(self):
        """Row 0 again, with what the window before left of row 3."""
        projected = Projection(Bigrams(), row_of)
        projected.weigh(give(Bigrams(), {3: 1.0}), [3, 4])
        found = projected.weigh(give(Bigrams(), {0: 1.0, 3: 0.5, 4: 0.25}), [0])
        assert found.weights == pytest.approx({0: 1.0, 3: 0.5, 4: 0.25}, rel=1e-9)

    def test_rows_that_cannot_be_told_apart(self):
        """Rows 0 and 6 are the same words: neither has a weight."""
        found = self.weigh({0: 0.5}, [0, 6])
        assert (found.weights, found.residual) == (None, None)


class TestLeastSquares:
    """When rows are independent enough."""

    @pytest.mark.parametrize(("angle", "is_solved"), [(0.8, False), (1.2, True)])
    def test_the_angle_between_two_rows(self, angle, is_solved):
        """The Gram matrix has eigenvalues 1 ± cos: a ratio of 1e-12 is an angle of 2e-6."""
        at = angle * 2e-6
        rows = torch.tensor([[1.0, 0.0, 0.0], [math.cos(at), math.sin(at), 0.0]], dtype=torch.float64)
        found = projection._solve(rows, rows.sum(dim=0))
        assert (found is not None) is is_solved

    def test_at_the_bound_itself_rows_are_told_apart(self, monkeypatch):
        """Rows at a right angle have a ratio of 1."""
        monkeypatch.setattr(projection, "_LEAST_EIGENVALUE", 1.0)
        rows = torch.eye(2, dtype=torch.float64)
        assert projection._solve(rows, rows.sum(dim=0)).tolist() == [1.0, 1.0]

    @pytest.mark.parametrize("row", [[0.0, 0.0], [math.nan, 0.0], [math.inf, 1.0]])
    def test_a_row_without_a_direction(self, row):
        """Nothing is told, not even of the others."""
        rows = torch.tensor([[1.0, 0.0], row], dtype=torch.float64)
        assert projection._solve(rows, torch.ones(2, dtype=torch.float64)) is None

    def test_rows_of_any_length(self):
        """Weights are those of the rows as they are, not of their directions."""
        rows = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1e-6, 0.0]], dtype=torch.float64)
        gradient = torch.tensor([6.0, 4e-6, 8.0], dtype=torch.float64)
        weights = projection._solve(rows, gradient)
        assert weights.tolist() == pytest.approx([3.0, 4.0])
        assert projection._residual(weights, rows, gradient) == pytest.approx(0.8)

    def test_rows_that_are_nearly_alike(self):
        """Squaring the condition costs ten digits of sixteen at this angle; one refinement gives them back."""
        generator = torch.Generator().manual_seed(1)
        rows = torch.randn(2, 40, generator=generator, dtype=torch.float64)
        rows[1] = rows[0] + 1e-5 * rows[1]
        weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
        found = projection._solve(rows, weights @ rows)
        assert found.tolist() == pytest.approx([0.3, 0.7], rel=1e-9)

    def test_as_many_weights_as_rows(self):
        """Fewer or more are refused."""
        with pytest.raises(ValueError, match="longer"):
            projection._by_row([3], torch.tensor([1.0, 2.0]))

    def test_a_row_twice_is_summed(self):
        """Of this window and of the one before."""
        found = projection._by_row([3, 4, 3], torch.tensor([1.0, 2.0, 4.0]))
        assert found == {3: 5.0, 4: 2.0}


class TestSketch:
    """A random image of a gradient."""

    def test_every_number_is_added_to_one_sum_with_a_sign(self):
        """Both signs occur, all sums are used, and two sketches are the same."""
        images = torch.stack([projection._Sketch(8)(unit) for unit in torch.eye(200, dtype=torch.float64)])
        assert images.shape == (200, 8)
        assert images.abs().sum(dim=1).tolist() == [1.0] * 200
        assert set(images.sum(dim=1).tolist()) == {-1.0, 1.0}
        assert bool((images.abs().sum(dim=0) > 0).all())
        assert images.abs().sum(dim=0).tolist() == pytest.approx([25.0] * 8, abs=20)

    def test_it_is_the_same_for_everyone(self):
        """Places and signs of torch's generator at seed 0."""
        generator = torch.Generator().manual_seed(0)
        places = torch.randint(8, (200,), generator=generator)
        signs = torch.randint(2, (200,), generator=generator) * 2 - 1
        by_hand = torch.zeros(8, dtype=torch.float64)
        for place, sign in zip(places.tolist(), signs.tolist(), strict=True):
            by_hand[place] += sign
        assert torch.equal(projection._Sketch(8)(torch.ones(200, dtype=torch.float64)), by_hand)

    def test_it_is_drawn_once_for_a_length_and_again_for_another(self):
        """A model whose trained parameters change is sketched anew."""
        sketch = projection._Sketch(4)
        first = sketch(torch.ones(50, dtype=torch.float64))
        (drawn,) = sketch._drawn.values()
        assert torch.equal(sketch(torch.ones(50, dtype=torch.float64)), first)
        assert sketch._drawn[50] is drawn
        assert sketch(torch.ones(60, dtype=torch.float64)).shape == (4,)
        assert set(sketch._drawn) == {60}

    def test_weights_in_a_sketch_are_those_of_the_whole(self):
        """Where it has more sums than there are rows."""
        found = Projection(Bigrams(), row_of, dims=20).weigh(give(Bigrams(), {0: 0.5, 1: 0.25}), [0, 1])
        assert found.weights == pytest.approx({0: 0.5, 1: 0.25}, rel=1e-9)
