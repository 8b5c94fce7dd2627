"""Loss and learning rate by update, read from a ledger."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..harness.ledger import Account, CellRecord, Update, account_of

__all__ = ["Curve", "curve_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """What one run descended, update by update.

    Attributes:
        subject: whose run it is.
        updates: 1-based numbers of the optimizer steps.
        losses: one an update; NaN where it is unknown or was NaN.
        learning_rates: of the first parameter group, as used by each update.
        source: where the losses come from, for the axis.
    """

    subject: str
    updates: tuple[int, ...]
    losses: tuple[float, ...]
    learning_rates: tuple[float, ...]
    source: str


def curve_of(record: CellRecord) -> Curve | None:
    """Return the curve of a run, or None where it made no update.

    The loss is the one whose gradient reached the update where the ledger has it (loss of each micro-batch
    times what it was multiplied with); else the mean of its micro-batches' losses; else what was logged.
    """
    account = account_of(record.events)
    done = account.done
    if not done:
        return None
    losses, source = _losses(account, done)
    return Curve(
        subject=record.subject,
        updates=tuple(update.index for update in done),
        losses=losses,
        learning_rates=tuple(
            update.learning_rates[0] if update.learning_rates else math.nan for update in done
        ),
        source=source,
    )


def _losses(account: Account, done: tuple[Update, ...]) -> tuple[tuple[float, ...], str]:
    windows = [update.window for update in done]
    if all(window and all(item.loss is not None for item in window) for window in windows):
        if all(item.scale is not None for window in windows for item in window):
            summed = tuple(
                sum((item.loss or 0.0) * (item.scale or 0.0) for item in window) for window in windows
            )
            return summed, "loss that the update descended"
        means = tuple(sum(item.loss or 0.0 for item in window) / len(window) for window in windows)
        return means, "mean loss of its micro-batches"
    logged = {
        point.optimizer_steps: point.entry.loss for point in account.logs if point.entry.loss is not None
    }
    found = (logged.get(update.index) for update in done)
    return tuple(math.nan if loss is None else loss for loss in found), "logged loss"
