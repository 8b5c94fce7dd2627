"""The curves of a run, read from its account: loss, gradient norm and rate of every update."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...scenarios import LossProtocol, Scenario
from ..ledger import Account, Curves, MicroBatch, Update
from .reduction import clip_factor

__all__ = ["clipped_unseen", "observed_curves"]

SAME_WEIGHT = 0.05
"""A loop may scale gradients instead of losses; then the scale of a loss is not its weight. Faults are factors, and
weights by projection are right to 2 % in the coarsest precision."""

CLIPPED = 1e-3
"""how near the norm that comes to the optimizer lies to max_grad_norm where a loop's own code has clipped to it"""


def observed_curves(account: Account, scenario: Scenario, exact: Sequence[float | None] = ()) -> Curves:
    """Return the curves of every update that ran.

    The loss of an update is the one whose gradient it used: each micro-batch's loss times what it was scaled with on
    its way back or, where the books say that gradients were scaled later (other than by a clip of the loop's own), its
    token losses times their weight. Where the model returned none, the logged one.

    A model that ignores the count of the window may be given a forward of the trainer's that divides by it (TRL's
    chunked loss). A ledger of windows of equal micro-batches does not tell that from gradients that were scaled later:
    then the reading counts that is nearer to `exact`, the losses of a replay; the weights are the same in both.
    """
    logged = {
        point.optimizer_steps: point.entry.loss for point in account.logs if scenario.logging_steps == 1
    }
    truth = (*exact, *[None] * len(account.done))
    return Curves(
        losses=tuple(
            _nearest(_readings(scenario, update, logged.get(update.index)), true)
            for update, true in zip(account.done, truth, strict=False)
        ),
        grad_norms=tuple(
            update.clip.total_norm if update.clip else update.grad_norm for update in account.done
        ),
        learning_rates=tuple(next(iter(update.learning_rates), None) for update in account.done),
    )


def clipped_unseen(update: Update, scenario: Scenario) -> bool:
    """Whether a loop's own code seems to have clipped: torch's was not called, and the norm is max_grad_norm."""
    limit = scenario.max_grad_norm
    return (
        bool(limit)
        and not update.clips
        and update.grad_norm is not None
        and math.isclose(update.grad_norm, limit, rel_tol=CLIPPED)
    )


def _nearest(readings: tuple[float | None, float | None], true: float | None) -> float | None:
    scaled, later = readings
    if scaled is None or later is None or true is None:
        return scaled
    return later if abs(later - true) < abs(scaled - true) else scaled


def _readings(scenario: Scenario, update: Update, logged: float | None) -> tuple[float | None, float | None]:
    """Return the loss of an update twice: where it is open what was scaled, once the losses and once the gradients."""
    scaled = later = 0.0
    factor = math.prod(clip_factor(clip.max_norm, clip.total_norm) for clip in update.whole_clips)
    for item in update.window:
        if not any(item.label_tokens):
            continue
        if item.loss is None or item.scale is None:
            return logged, logged
        divisor = _divided_by(scenario, item)
        by_books = None if clipped_unseen(update, scenario) else _weight(update, item, factor)
        by_loss = item.loss * item.scale
        if by_books is None or _same(item.scale / divisor, by_books):
            scaled, later = scaled + by_loss, later + by_loss
            continue
        later += item.loss * divisor * by_books
        honoured = item.divisor and _same(item.scale / item.divisor, by_books)
        scaled += by_loss if honoured else item.loss * divisor * by_books
    return scaled, later


def _same(weight: float, by_books: float) -> bool:
    return abs(weight - by_books) <= SAME_WEIGHT * abs(by_books)


def _divided_by(scenario: Scenario, item: MicroBatch) -> float:
    """What the model, as it was asked for, divided the micro-batch's token losses by."""
    honours = scenario.loss_protocol in (LossProtocol.HONOURED, LossProtocol.OVERRIDDEN)
    return item.divisor if honours and item.divisor else sum(item.label_tokens)


def _weight(update: Update, item: MicroBatch, factor: float) -> float | None:
    """Return the weight that all label tokens of a micro-batch have by the books, None where they differ."""
    if update.weights is None or not factor:
        return None
    found = [update.weights.get(row, 0.0) / factor for row, tokens in item.row_tokens if tokens]
    alike = math.isclose(min(found), max(found), rel_tol=SAME_WEIGHT)
    return sum(found) / len(found) if alike else None
