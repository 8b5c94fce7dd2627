"""The loss of an update, read from ledgers written by hand: the one whose gradient it used, whoever divided."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stepaudit.harness.contract import observed_curves
from stepaudit.harness.ledger import Backward, EpochBegan, Forward
from written_ledgers import books, micro_batch, update

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


def loss_of(events: list, loss_protocol: str) -> float:
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
    found = loss_of(window(divisor=divisor, divided=divided, scales=scales), loss_protocol)
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
