"""How the loss of an update is read from its ledger: by the scale of its losses, by its weights, or from the log."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stepaudit.harness.contract import observed_curves
from stepaudit.harness.ledger import Backward, Clipped, EpochBegan, Forward, Logged
from written_ledgers import books, micro_batch, update


def scaled(
    number: int, rows: list[int], tokens: list[int], loss: float | None, scale: float | None, **changes
):
    """A micro-batch whose loss was multiplied with `scale` on its way back."""
    forward, _ = micro_batch(number, rows, tokens, loss=loss)
    assert isinstance(forward, Forward)
    return [replace(forward, **changes), Backward(micro_batch=number, scale=scale)]


def loss_of(*events, exact: tuple[float | None, ...] = (), **shape) -> float | None:
    """The loss of the only update."""
    asked = {"rows": 4, "per_device_batch_size": 2, "grad_accum": 2, "max_steps": 1} | shape
    cell = books([EpochBegan(epoch=0), *events], **asked)
    (loss,) = observed_curves(cell.observed, cell.scenario, exact).losses
    return loss


@pytest.mark.parametrize(
    ("weight", "scale", "loss"),
    [
        (20.0, 20.0, 40.0),
        (20.0, 21.0, 42.0),  # 5 % more than the books say: the loss as it was scaled
        (20.0, 19.0, 38.0),
        (20.0, 21.1, 40.0),  # gradients were scaled later: the books
        (20.0, 18.9, 40.0),
        (20.0, 24.0, 40.0),
    ],
)
def test_a_scale_that_says_what_the_books_say(weight, scale, loss):
    """A loss of 2 over one token."""
    assert loss_of(*scaled(0, [0], [1], 2.0, scale), *update({0: weight})) == pytest.approx(loss)


def test_a_mean_loss_is_spread_over_its_tokens():
    """Half of the scale over four tokens is an eighth of each."""
    assert loss_of(*scaled(0, [0], [4], 2.0, 0.5), *update({0: 1 / 8})) == 1.0
    assert loss_of(*scaled(0, [0], [4], 2.0, 0.5), *update({0: 1 / 4})) == 2.0
    assert loss_of(*scaled(0, [0], [4], 2.0, 0.52), *update({0: 1 / 8})) == 1.04


def test_rows_without_labels_have_no_part():
    """Neither in a micro-batch of others nor as one of their own."""
    mixed = scaled(0, [0, 1], [4, 0], 2.0, 1.0)
    assert loss_of(*mixed, *update({0: 1 / 4})) == 2.0
    assert loss_of(*mixed, *update({0: 1 / 8})) == 1.0
    silent = scaled(0, [0], [0], 9.0, 1.0)
    assert loss_of(*silent, *scaled(1, [1], [4], 2.0, 1.0), *update({1: 1 / 4})) == 2.0


def test_rows_that_weigh_alike_weigh_their_mean():
    """4 % apart is alike; 6 % apart the scale is all that is known."""
    for apart, loss in ((0.04, 2.0 * 4 * 0.49), (0.06, 2.0)):
        events = scaled(0, [0, 1], [2, 2], 2.0, 1.0)
        weights = {0: 0.5, 1: 0.5 * (1 - apart)}
        assert loss_of(*events, *update(weights)) == pytest.approx(loss)


def test_a_row_that_the_books_lack_weighs_nothing():
    """Whatever its loss was scaled with."""
    assert loss_of(*scaled(0, [0], [4], 2.0, 1.0), *update({})) == 0.0


def test_a_clip_of_the_window_is_no_scaling_of_the_loss():
    """It is undone; one to nothing leaves the scale."""
    events = scaled(0, [0], [4], 2.0, 1.0)
    clip = Clipped(max_norm=1.0, total_norm=4.0 - 1e-6)
    assert loss_of(*events, clip, *update({0: 1 / 16}), max_grad_norm=1.0) == 2.0
    assert loss_of(*events, clip, *update({0: 1 / 32}), max_grad_norm=1.0) == pytest.approx(1.0)
    lost = Clipped(max_norm=1.0, total_norm=float("inf"))
    assert loss_of(*events, lost, *update({}), max_grad_norm=1.0) == 2.0


def test_without_books_the_scale_is_all_that_is_known():
    """None, not an empty table."""
    assert loss_of(*scaled(0, [0], [4], 2.0, 0.5), *update(None)) == 1.0


@pytest.mark.parametrize(
    ("exact", "loss"), [((), 2.0), ((None,), 2.0), ((1.0,), 1.0), ((1.4,), 1.0), ((1.5,), 2.0), ((3.0,), 2.0)]
)
def test_of_two_readings_the_nearer_to_the_replay(exact, loss):
    """A model that ignores the 8 tokens it was given, or a forward that divides by them: 2 as scaled, 1 by books."""
    events = scaled(0, [0], [4], 2.0, 1.0, divisor=8.0)
    asked = {"loss_protocol": "ignored"}
    assert loss_of(*events, *update({0: 1 / 8}), exact=exact, **asked) == loss


def test_a_micro_batch_that_has_one_reading_is_part_of_both():
    """2 in both, and 2 or 1: 3 is nearer to 3 than 4 is."""
    events = [*scaled(0, [0], [4], 2.0, 0.5), *scaled(1, [1], [4], 2.0, 1.0, divisor=8.0)]
    weights = update({0: 1 / 8, 1: 1 / 8})
    asked = {"loss_protocol": "ignored"}
    assert loss_of(*events, *weights, exact=(2.0,), **asked) == 2.0
    assert loss_of(*events, *weights, exact=(3.0,), **asked) == 3.0


@pytest.mark.parametrize(("loss", "scale"), [(None, 1.0), (2.0, None), (None, None)])
def test_a_loss_that_nobody_saw_is_the_logged_one(loss, scale):
    """Where every update is logged; a mean over several says nothing of one."""
    nothing = dict.fromkeys(("epoch", "learning_rate", "grad_norm", "input_tokens"))
    log = Logged(global_step=1, loss=7.0, **nothing)
    events = [*scaled(0, [0], [4], loss, scale), *update({0: 1 / 4}), log]
    assert [loss_of(*events, logging_steps=every) for every in (0, 1, 2)] == [None, 7.0, None]


@pytest.mark.parametrize(
    ("weight", "norm", "limit", "loss"),
    [
        (0.25, 0.4, 0.5, 2.0),  # as the loss was scaled
        (0.125, 0.4, 0.5, 1.0),  # the gradient was halved later
        (0.125, 0.5, 0.5, 2.0),  # clipped by the loop's own code: that is no scaling of the loss
        (0.125, 0.5 * (1 - 9e-4), 0.5, 2.0),
        (0.125, 0.5 * (1 - 11e-4), 0.5, 1.0),
        (0.125, 0.5, 0.0, 1.0),  # nobody asked for clipping
    ],
)
def test_a_clip_of_the_loops_own_is_no_scaling_of_the_loss(weight, norm, limit, loss):
    """Nobody saw it, but the norm that comes to the optimizer is max_grad_norm."""
    events = [*scaled(0, [0], [4], 2.0, 1.0), *update({0: weight}, grad_norm=norm)]
    assert loss_of(*events, max_grad_norm=limit) == pytest.approx(loss)


TOKENS = (8, 4)
SUMS = (16.0, 20.0)
"""label tokens of two rows, a micro-batch each, and the sums of their token losses"""
WHOLE = sum(TOKENS)


def window(*, divisor: float | None, divided: tuple[float, float], scales: tuple[float, float]) -> list:
    """Two micro-batches whose losses were divided by `divided` and scaled on their way back, and an update by 1 / N."""
    events: list = [EpochBegan(epoch=0)]
    for row, (tokens, total) in enumerate(zip(TOKENS, SUMS, strict=True)):
        forward, backward = micro_batch(row, [row], [tokens], loss=total / divided[row])
        assert isinstance(forward, Forward)
        assert isinstance(backward, Backward)
        events += [replace(forward, divisor=divisor), replace(backward, scale=scales[row])]
    return [*events, *update(dict.fromkeys(range(2), 1 / WHOLE), residual=0.0)]


def gradient_loss(events: list, loss_protocol: str) -> float:
    """The loss of the only update."""
    fields = {"rows": 2, "grad_accum": 2, "model": "tiny-llama", "tier": "numeric", "lengths": "ragged"}
    cell = books(events, **fields, loss_protocol=loss_protocol)
    (loss,) = observed_curves(cell.observed, cell.scenario).losses
    assert loss is not None
    return loss


@pytest.mark.parametrize(
    ("loss_protocol", "divisor", "divided", "scales"),
    [
        ("honoured", WHOLE, (WHOLE, WHOLE), (1.0, 1.0)),
        # by a forward of the trainer's own, as TRL's chunked loss
        ("ignored", WHOLE, (WHOLE, WHOLE), (1.0, 1.0)),
        ("ignored", WHOLE, TOKENS, (TOKENS[0] / WHOLE, TOKENS[1] / WHOLE)),
        ("none", None, TOKENS, (TOKENS[0] / WHOLE, TOKENS[1] / WHOLE)),
        ("none", None, TOKENS, (1.0, 1.0)),
    ],
)
def test_the_loss_is_that_of_the_gradient(loss_protocol, divisor, divided, scales):
    """One gradient, one loss: whether the model, its scale or the gradients were divided by the window's tokens."""
    found = gradient_loss(window(divisor=divisor, divided=divided, scales=scales), loss_protocol)
    assert found == pytest.approx(sum(SUMS) / WHOLE, rel=1e-12)


@pytest.mark.parametrize(("divided", "scaled_later"), [(8, False), (4, True)])
def test_a_replay_says_what_windows_of_equal_micro_batches_leave_open(divided, scaled_later):
    """Handed the window's 8 tokens, a model divided by them; or by its own 4, and the gradients were halved later."""
    events: list = [EpochBegan(epoch=0)]
    for row in range(2):
        forward, backward = micro_batch(row, [row], [4], loss=12.0 / divided)
        events += [replace(forward, divisor=8.0), backward]
    events += update({0: 0.125, 1: 0.125}, residual=0.0)
    cell = books(events, rows=2, grad_accum=2, model="tiny-llama", tier="numeric", loss_protocol="ignored")
    for true in (3.0, 3.1):
        assert observed_curves(cell.observed, cell.scenario, (true,)).losses == (3.0,)
    assert observed_curves(cell.observed, cell.scenario).losses == ((6.0,) if scaled_later else (3.0,))
