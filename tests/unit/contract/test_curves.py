"""The loss of an update: what its gradient was made from, whoever scaled it, and whenever."""

import pytest
from stepaudit.harness.contract import observed_curves
from written_ledgers import books, micro_batch, update


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
def test_the_loss_that_was_trained_on(weight, norm, limit, loss):
    """A micro-batch of one row with 4 label tokens and a mean loss of 2."""
    cell = books(
        [*micro_batch(0, [0], loss=2.0), *update({0: weight}, grad_norm=norm)],
        rows=1,
        max_steps=1,
        max_grad_norm=limit,
    )
    assert observed_curves(cell.observed, cell.scenario).losses == (pytest.approx(loss),)
