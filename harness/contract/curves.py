"""The curves of a run, read from its account: loss, gradient norm and rate of every update."""

from __future__ import annotations

import math

from ...scenarios import LossProtocol, Scenario
from ..ledger import Account, Curves, MicroBatch, Update
from .reduction import clip_factor

__all__ = ["observed_curves"]

SAME_WEIGHT = 0.05
"""A loop may scale gradients instead of losses; then the scale of a loss is not its weight. Faults are factors, and
weights by projection are right to 2 % in the coarsest precision."""


def observed_curves(account: Account, scenario: Scenario) -> Curves:
    """Return the curves of every update that ran.

    The loss of an update is the one whose gradient it used: each micro-batch's loss times what it was scaled with on
    its way back or, where the books say that gradients were scaled later, its token losses times their weight. Where
    the model returned none, the logged one.
    """
    logged = {
        point.optimizer_steps: point.entry.loss for point in account.logs if scenario.logging_steps == 1
    }
    return Curves(
        losses=tuple(_loss(scenario, update, logged.get(update.index)) for update in account.done),
        grad_norms=tuple(
            update.clip.total_norm if update.clip else update.grad_norm for update in account.done
        ),
        learning_rates=tuple(next(iter(update.learning_rates), None) for update in account.done),
    )


def _loss(scenario: Scenario, update: Update, logged: float | None) -> float | None:
    total = 0.0
    factor = math.prod(clip_factor(clip.max_norm, clip.total_norm) for clip in update.whole_clips)
    for item in update.window:
        if not any(item.label_tokens):
            continue
        if item.loss is None or item.scale is None:
            return logged
        tokens = _divided_by(scenario, item)
        by_scale = item.scale / tokens
        by_books = _weight(update, item, factor)
        follows = by_books is None or abs(by_scale - by_books) <= SAME_WEIGHT * abs(by_books)
        total += item.loss * tokens * (by_scale if follows or by_books is None else by_books)
    return total


def _divided_by(scenario: Scenario, item: MicroBatch) -> float:
    """What the model divided the micro-batch's token losses by."""
    honours = scenario.loss_protocol in (LossProtocol.HONOURED, LossProtocol.OVERRIDDEN)
    return item.divisor if honours and item.divisor else sum(item.label_tokens)


def _weight(update: Update, item: MicroBatch, factor: float) -> float | None:
    """Return the weight that all label tokens of a micro-batch have by the books, None where they differ."""
    if update.weights is None or not factor:
        return None
    found = [
        update.weights.get(row, 0.0) / factor
        for row, tokens in zip(item.rows, item.label_tokens, strict=True)
        if tokens
    ]
    alike = max(found) - min(found) <= SAME_WEIGHT * max(found)
    return sum(found) / len(found) if alike else None
