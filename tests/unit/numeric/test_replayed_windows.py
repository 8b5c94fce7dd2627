"""The replay of windows written by hand: what the trusted loop does to a model of a few numbers, update by update."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from stepaudit.harness.contract import CONTRACTS
from stepaudit.harness.ledger import FLOOR, FLOOR_IN_AUTOCAST
from stepaudit.harness.oracle import replay_run
from stepaudit.harness.oracle.losses import row_losses
from stepaudit.scenarios import Scenario
from tiny_model import Bigrams, row_of
from written_ledgers import books, micro_batch, update

RATE = 0.1


def batch_of(rows):
    """The tensors of a micro-batch."""
    each = [row_of(row) for row in rows]
    return {name: torch.cat([one[name] for one in each]) for name in each[0]}


def account(windows, **changes):
    """Updates of these windows of micro-batches, each row with 3 label tokens."""
    events, number = [], 0
    for window in windows:
        for rows in window:
            events += micro_batch(number, rows, [3] * len(rows))
            number += 1
        events += update(None, **changes)
    return books(events, rows=6).observed


def scenario(**changes) -> Scenario:
    """SGD at a constant rate, without clipping."""
    asked = {
        "rows": 6,
        "per_device_batch_size": 2,
        "grad_accum": 2,
        "max_steps": 2,
        "learning_rate": RATE,
        "lr_schedule": "constant",
        "max_grad_norm": 0.0,
        "optimizer": "sgd",
        "model": "tiny-llama",
        "tier": "numeric",
    }
    return Scenario(**(asked | changes))


def replayed(windows, trained=None, autocast=None, loss_scale=None, **changes):
    """The replay of these windows beside a trained model."""
    return replay_of(account(windows, loss_scale=loss_scale), trained=trained, autocast=autocast, **changes)


def replay_of(seen, model=Bigrams, trained=None, autocast=None, **changes):
    """The replay of what was seen, by models of a class."""
    return replay_run(
        seen,
        scenario(**changes),
        CONTRACTS["token-mean"],
        build=lambda: model(torch.float32),
        build_exact=model,
        batch_of=batch_of,
        trained=trained or model(torch.float32),
        autocast=autocast,
    )


WINDOWS = (((0, 1), (2, 3)), ((4, 5),))


def by_hand(limit: float = 0.0, rates=(RATE, RATE)):
    """Losses, norms and the table after both windows, each loss the mean of its tokens, by one line of SGD."""
    model, losses, norms = Bigrams(), [], []
    for window, rate in zip(WINDOWS, rates, strict=True):
        rows = [row for part in window for row in part]
        loss = row_losses(model, batch_of(rows)).sum() / (3 * len(rows))
        (gradient,) = torch.autograd.grad(loss, [model.table])
        losses.append(loss.item())
        norms.append(gradient.norm().item())
        factor = min(1.0, limit / (norms[-1] + 1e-6)) if limit else 1.0
        model.table = torch.nn.Parameter(model.table.detach() - rate * factor * gradient)
    return losses, norms, model


@pytest.mark.parametrize("limit", [0.0, 0.05, 100.0])
@pytest.mark.parametrize("loss_scale", [None, 2.0, 65536.0])
def test_the_trusted_loop(limit, loss_scale):
    """Losses, norms before clipping and rates of both updates are those by hand, whatever a scaler multiplied with."""
    losses, norms, _ = by_hand(limit)
    found = replayed(WINDOWS, loss_scale=loss_scale, max_grad_norm=limit)
    assert found.exact.losses == pytest.approx(losses, rel=1e-12)
    assert found.exact.grad_norms == pytest.approx(norms, rel=1e-12)
    assert found.exact.learning_rates == (RATE, RATE)
    assert found.own.losses == pytest.approx(losses, rel=1e-5)
    assert (found.updates, found.complete) == (2, True)


def test_the_rates_are_the_schedules():
    """Linear to the target: the second update at half the rate."""
    rates = (RATE, RATE / 2)
    losses, _, _ = by_hand(rates=rates)
    found = replayed(WINDOWS, lr_schedule="linear")
    assert found.exact.learning_rates == pytest.approx(rates)
    assert found.exact.losses == pytest.approx(losses, rel=1e-12)


def test_the_distances_of_the_parameters():
    """The table was moved; the number that no row reaches was not; what was trained lies elsewhere by what it does."""
    _, _, right = by_hand()
    trained = Bigrams()
    trained.table = torch.nn.Parameter(right.table.detach() + 0.25)
    table, unused = replayed(WINDOWS, trained).parameters
    assert (table.name, table.elements) == ("table", 36)
    assert table.norm == pytest.approx(right.table.detach().norm().item(), rel=1e-9)
    begun = Bigrams(torch.float32).table.detach().double()
    assert table.moved == pytest.approx((right.table.detach() - begun).norm().item(), rel=1e-9)
    assert 0 < table.own < 1e-6
    assert table.subject == pytest.approx(0.25 * 6, rel=1e-9)
    assert (unused.elements, unused.moved, unused.own, unused.subject) == (2, 0.0, 0.0, 0.0)
    assert unused.norm == pytest.approx(math.sqrt(2))


def test_adamw_has_no_decay_and_its_own_momenta():
    """A number without a gradient stays; the table moves by the rate in every number that has one."""
    table, unused = replayed(WINDOWS[:1], optimizer="adamw_torch", max_steps=1).parameters
    assert unused.moved == 0.0
    assert table.moved == pytest.approx(RATE * math.sqrt(36), rel=0.2)


def test_a_run_that_goes_on_behind_its_target():
    """Only so many updates are replayed, and its parameters are not compared."""
    found = replayed((*WINDOWS, ((0, 1),)))
    assert (found.updates, found.complete, found.parameters) == (2, False, ())
    assert [len(curve) for curve in (found.subject.losses, found.exact.losses, found.own.losses)] == [2, 2, 2]
    assert [len(curve) for curve in (found.subject.grad_norms, found.subject.learning_rates)] == [2, 2]


def test_a_model_that_was_rebuilt_has_no_distances():
    """Its parameters have other names."""
    other = torch.nn.Linear(2, 2)
    assert replayed(WINDOWS, other).parameters == ()


@pytest.mark.parametrize(
    ("autocast", "said", "floor"),
    [
        (None, "float32", FLOOR * torch.finfo(torch.float32).eps),
        (
            torch.bfloat16,
            "float32, forward in bfloat16",
            FLOOR_IN_AUTOCAST * torch.finfo(torch.bfloat16).eps,
        ),
    ],
)
def test_the_envelope_has_a_floor_by_precision(autocast, said, floor):
    """In epsilons of what the forward is rounded to."""
    found = replayed(WINDOWS, autocast=autocast)
    assert found.precision == said
    assert found.epsilon == torch.finfo(autocast or torch.float32).eps
    assert found.envelope.losses[0] == pytest.approx(floor * found.exact.losses[0], rel=1e-6)


class Evaluated(Bigrams):
    """A model of one parameter that comes in evaluation mode, as from a checkpoint."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(dtype)
        del self.unused
        self.eval()

    def forward(self, *args, **options):
        assert self.training
        return super().forward(*args, **options)


def test_a_model_of_one_parameter_is_trained_whatever_its_mode():
    """It is put into training mode."""
    losses, _, _ = by_hand()
    found = replay_of(account(WINDOWS), Evaluated)
    assert found.exact.losses == pytest.approx(losses, rel=1e-12)


def test_an_update_without_a_window_has_no_gradient():
    """Its loss and its norm are 0."""
    found = replayed(((),), max_steps=1)
    assert (found.exact.losses, found.exact.grad_norms) == ((0.0,), (0.0,))


def test_rows_without_labels_move_nothing():
    """A window that reaches no parameter has a loss and a norm of 0."""
    still = account((((8,), (9,)),))
    still = replace(
        still,
        updates=tuple(
            replace(update, window=tuple(replace(item, label_tokens=(0,)) for item in update.window))
            for update in still.updates
        ),
    )
    found = replay_of(still, max_steps=1, max_grad_norm=1.0)
    assert (found.exact.losses, found.exact.grad_norms) == ((0.0,), (0.0,))
    assert all(item.moved == 0.0 for item in found.parameters)
