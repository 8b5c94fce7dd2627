"""Events of a ledger as lines for people, and the excerpt around the point where the books part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..harness.ledger import (
    Backward,
    Clipped,
    EpochBegan,
    Evaluated,
    Event,
    Fetched,
    Forward,
    GradsZeroed,
    Interrupted,
    Logged,
    OptimizerStep,
    Saved,
    SchedulerStep,
    Stopped,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..harness.judging.verdict import Divergence

from .text import DASH, TIMES

__all__ = ["LedgerLine", "event_text", "excerpt"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerLine:
    """One event; `marked` is the one at which the books part."""

    position: str
    kind: str
    text: str
    marked: bool


def excerpt(
    events: Sequence[Event], divergence: Divergence, *, before: int = 7, after: int = 4
) -> list[LedgerLine]:
    """Return the events around the first divergence; a missing one is a marked line at the end."""
    at = divergence.event if divergence.event is not None else len(events)
    first, last = max(0, at - before), min(len(events), at + after + 1)
    updates = sum(isinstance(event, OptimizerStep) and not event.suppressed for event in events[:first])
    lines = []
    for position in range(first, last):
        event = events[position]
        updates += isinstance(event, OptimizerStep) and not event.suppressed
        lines.append(
            LedgerLine(
                position=str(position),
                kind=type(event).__name__,
                text=event_text(event, update=updates),
                marked=position == divergence.event,
            )
        )
    if divergence.event is None:
        lines.append(LedgerLine(position=DASH, kind="missing", text=divergence.text, marked=True))
    return lines


def event_text(event: Event, *, update: int) -> str:  # noqa: PLR0912 - one branch an event
    """Return what happened, e.g. `optimizer step 351, lr 0`; `update` counts those up to here."""
    match event:
        case EpochBegan():
            return f"pass {event.epoch} over the data begins"
        case Fetched():
            return f"rows {_few(event.rows)} fetched, pass {event.epoch}"
        case Forward():
            divisor = "" if event.divisor is None else f", divisor {event.divisor:g}"
            loss = "" if event.loss is None else f", loss {event.loss:.6g}"
            tokens = sum(event.label_tokens)
            what = f"rows {_few(event.rows)}, {tokens} label tokens{divisor}{loss}"
            return f"micro-batch {event.micro_batch}: {what}"
        case Backward():
            scale = "" if event.scale is None else f", loss {TIMES} {event.scale:g}"
            return f"backward of micro-batch {event.micro_batch}{scale}"
        case Clipped():
            return f"gradient norm {event.total_norm:.6g} clipped to {event.max_norm:g}"
        case OptimizerStep():
            rates = _few(event.learning_rates)
            norm = "" if event.grad_norm is None else f", gradient norm {event.grad_norm:.6g}"
            return "skipped step" if event.suppressed else f"optimizer step {update}, lr {rates}{norm}"
        case GradsZeroed():
            return "gradients zeroed"
        case SchedulerStep():
            return f"scheduler step, lr now {_few(event.learning_rates)}"
        case Logged():
            said = {"loss": event.loss, "lr": event.learning_rate, "epoch": event.epoch}
            values = ", ".join(f"{name} {value:.6g}" for name, value in said.items() if value is not None)
            return f"log: claims global_step {event.global_step}{', ' if values else ''}{values}"
        case Saved():
            return f"checkpoint, claims global_step {event.global_step}"
        case Evaluated():
            return f"evaluation over {event.rows} rows"
        case Interrupted():
            return "interrupted, then resumed from the last checkpoint"
        case Stopped():
            return f"the audit stops the run here, after {event.micro_batches:,} micro-batches"
        case _:  # an event that this page has no words for yet is shown by its name and values
            return str(event)


def _few(values: Sequence[float], most: int = 8) -> str:
    shown = " ".join(f"{value:.6g}" for value in values[:most])
    return f"{shown} … ({len(values)})" if len(values) > most else shown
