"""The replay oracle: a run's own windows, trained on again by a loop that is short enough to be believed.

Loops shuffle differently, so their curves are not compared blindly. The ledger knows which rows every micro-batch had;
here exactly these windows are trained on with the weights, rates and clipping of the contract, in float64 and in the
run's own precision. The distance between the two is the rounding noise of this very run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...scenarios import OptimizerName, Scenario
from ..contract import Contract, learning_rate, observed_curves, terms_of, token_weight
from ..ledger import (
    FLOOR,
    FLOOR_IN_AUTOCAST,
    Account,
    Curves,
    ParameterDistance,
    Replay,
    Update,
    envelope_of,
)
from .losses import autocast_of, row_losses

__all__ = ["replay_run"]

_CLIP_EPSILON = 1e-6
"""torch.nn.utils.clip_grad_norm_ divides by (norm + 1e-6)"""

BatchOf = Callable[[Sequence[int]], Mapping[str, Tensor]]


def replay_run(
    account: Account,
    scenario: Scenario,
    contract: Contract,
    *,
    build: Callable[[], nn.Module],
    build_exact: Callable[[], nn.Module],
    batch_of: BatchOf,
    trained: nn.Module,
    autocast: torch.dtype | None,
) -> Replay:
    """Replay a run and measure how far it is from its replays.

    Args:
        account: the observed account; its windows are replayed, of a run that did not end at its target only so many.
        scenario: what was asked for.
        contract: gives weights and rates.
        build: makes the model as it was before training, float32.
        build_exact: the same in float64.
        batch_of: makes the tensors of a micro-batch from row ids.
        trained: the subject's model after training.
        autocast: dtype that the run's forward is cast to, None for none.
    """
    target = terms_of(scenario, contract).T
    updates = account.done[:target]
    begun = {name: tensor.double() for name, tensor in _parameters(build()).items()}
    exact_model, own_model = build_exact(), build()
    exact = _train(exact_model, scenario, contract, updates, batch_of, autocast=None)
    own = _train(own_model, scenario, contract, updates, batch_of, autocast=autocast)
    subject = observed_curves(account, scenario, exact.losses)
    epsilon = torch.finfo(autocast or torch.float32).eps
    complete = len(updates) == len(account.done)
    return Replay(
        precision="float32" + (f", forward in {str(autocast).removeprefix('torch.')}" if autocast else ""),
        epsilon=epsilon,
        updates=len(updates),
        complete=complete,
        subject=Curves(
            losses=subject.losses[: len(updates)],
            grad_norms=subject.grad_norms[: len(updates)],
            learning_rates=subject.learning_rates[: len(updates)],
        ),
        exact=exact,
        own=own,
        envelope=envelope_of(exact, own, epsilon * (FLOOR_IN_AUTOCAST if autocast else FLOOR)),
        parameters=_distances(begun, exact_model, own_model, trained) if complete else (),
    )


def _train(
    model: nn.Module,
    scenario: Scenario,
    contract: Contract,
    updates: Sequence[Update],
    batch_of: BatchOf,
    *,
    autocast: torch.dtype | None,
) -> Curves:
    """The trusted loop."""
    parameters = list(model.parameters())  # those without a gradient stay as they are
    optimizer = _optimizer(scenario, parameters)
    total, limit = terms_of(scenario, contract).T, scenario.max_grad_norm
    losses, norms, rates = [], [], []
    model.train()
    for number, update in enumerate(updates):
        window_loss = 0.0
        for micro_batch in update.window:
            weight = token_weight(contract, scenario, update, micro_batch)
            with autocast_of(autocast, parameters[0].device):
                loss = weight * row_losses(model, batch_of(micro_batch.rows)).sum()
            (loss * (update.loss_scale or 1.0)).backward()
            window_loss += float(loss.detach())
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for gradient in gradients:
            gradient.div_(update.loss_scale or 1.0)
        norm = float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0
        if limit:
            for gradient in gradients:
                gradient.mul_(min(1.0, limit / (norm + _CLIP_EPSILON)))
        rate = learning_rate(scenario, number, total)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
        losses.append(window_loss)
        norms.append(norm)
        rates.append(rate)
    return Curves(losses=tuple(losses), grad_norms=tuple(norms), learning_rates=tuple(rates))


def _optimizer(scenario: Scenario, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if scenario.optimizer is OptimizerName.SGD:
        return torch.optim.SGD(parameters)
    return torch.optim.AdamW(parameters, weight_decay=0.0)


def _distances(
    begun: Mapping[str, Tensor], exact: nn.Module, own: nn.Module, trained: nn.Module
) -> tuple[ParameterDistance, ...]:
    truth, mine, theirs = _parameters(exact), _parameters(own), _parameters(trained)
    if theirs.keys() != truth.keys():
        return ()
    return tuple(
        ParameterDistance(
            name=name,
            elements=tensor.numel(),
            norm=float(tensor.norm()),
            moved=float((tensor - begun[name]).norm()),
            own=float((mine[name].double() - tensor).norm()),
            subject=float((theirs[name].double() - tensor).norm()),
        )
        for name, tensor in truth.items()
    )


def _parameters(model: nn.Module) -> dict[str, Any]:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}
