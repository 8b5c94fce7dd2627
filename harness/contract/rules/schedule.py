"""Rules about the learning rate and the claimed epoch: `schedule`, `epoch`."""

from __future__ import annotations

import math
from collections import Counter

from ....scenarios import LrSchedule
from ...ledger import Update
from ..books import CellBooks, Finding, Findings, NotJudged

__all__ = ["claimed_epoch_holds", "judge_epoch", "judge_schedule", "micro_batches_after"]

RATE = 1e-12
"""the schedule is evaluated with the same float64 operations; a loop that writes them in another order differs
by a few units of 2^-53, the next update's rate by at least 1 / T of the base"""

FRACTION = 1e-9
"""a claimed epoch is one or two float64 quotients and a sum; neighbouring updates differ by A / M"""


def judge_schedule(books: CellBooks) -> Findings:
    """Update k uses lr = base · f(k-1; warmup, T), after k-1 scheduler steps; one scheduler step an update."""
    observed, expected, scenario = books.observed, books.expected, books.scenario
    if reason := _unread_schedule(books):
        return NotJudged(reason=reason)
    head = f"lr = {scenario.learning_rate:g}·{scenario.lr_schedule.value}"
    for update, want in zip(observed.done, expected.learning_rates, strict=False):
        wrong = [
            rate for rate in update.learning_rates if not abs(rate - want) <= RATE * scenario.learning_rate
        ]
        if wrong:
            return [
                Finding(
                    expected=f"lr {want:.8g} in optimizer step {update.index}",
                    got=f"lr {wrong[0]:.8g}",
                    formula=f"{head}({update.index} - 1; warmup={scenario.warmup_steps}, T={expected.terms.T})",
                    event=update.event,
                    update=update.index,
                    text=f"optimizer step {update.index} ran after {update.schedule_position} scheduler steps "
                    f"with lr {wrong[0]:.8g}",
                )
            ]
    if observed.scheduler_steps == 0:
        return []  # the rates are right; a loop may set them by hand
    parted = [_count_parting(books, each) for each in sorted({1, scenario.ranks})]
    return [] if [] in parted else parted[0]


def _count_parting(books: CellBooks, each: int) -> list[Finding]:
    """Return where the advances part from `each` an update: with the right rates one, or one for every rank."""
    observed = books.observed
    for update in observed.done:
        if update.schedule_position != (update.index - 1) * each:
            return [_count_finding(books, update)]
    if observed.scheduler_steps not in (
        observed.optimizer_steps * each,
        (observed.optimizer_steps - 1) * each,
    ):
        return [
            _count_finding(books, None)
        ]  # the advance after the last update has no effect: it may be left out
    return []


def judge_epoch(books: CellBooks) -> Findings:
    """The claimed epoch after an update = e + micro_batches_done / M; an integer names a pass, begun or complete."""
    observed, claimed = books.observed, books.claimed
    M = books.expected.terms.M
    if not observed.done or not M:
        return NotJudged(
            reason="no optimizer step to claim an epoch after" if M else "there is no epoch: M = 0"
        )
    claims: list[tuple[float, Update, int | None]] = [
        (point.entry.epoch, observed.done[point.optimizer_steps - 1], point.event)
        for point in observed.logs
        if point.entry.epoch is not None and point.optimizer_steps
    ]
    if not claims:
        claims = [
            (entry.epoch, observed.done[entry.global_step - 1], None)
            for entry in claimed.log or ()
            if entry.epoch is not None
            and entry.global_step is not None
            and 0 < entry.global_step <= len(observed.done)
        ]
    if claimed.epoch is not None:
        claims.append((claimed.epoch, observed.done[-1], None))
    if not claims:
        return NotJudged(reason="the trainer claims no epoch")
    done_after = micro_batches_after(books)
    for epoch, update, event in claims:
        if not update.window:
            continue
        done = done_after[update.event]
        if claimed_epoch_holds(epoch, done / M):
            continue
        whole, part = divmod(done, M)
        return [
            Finding(
                expected=f"epoch {done / M:.6g} after optimizer step {update.index}",
                got=f"epoch {epoch:.6g}",
                formula=f"e + micro_batches / M = {whole} + {part} / {M}",
                event=event,
                update=update.index,
                text=f"the trainer says epoch {epoch:.6g} after optimizer step {update.index}",
            )
        ]
    return []


def micro_batches_after(books: CellBooks) -> dict[int, int]:
    """Return, by the event of an update, the micro-batches that were done after it: complete passes and the current."""
    in_pass: Counter[int] = Counter()
    done: dict[int, int] = {}
    for update in books.observed.updates:
        in_pass.update(micro_batch.epoch for micro_batch in update.window)
        if update.window:
            epoch = update.window[-1].epoch
            done[update.event] = epoch * books.expected.terms.M + in_pass[epoch]
    return done


def claimed_epoch_holds(claim: float, truth: float) -> bool:
    """Whether a claimed epoch is true: a float to rounding, an integer as the number of a pass, from 0 or from 1."""
    if isinstance(claim, int):
        return math.ceil(truth) - 1 <= claim <= math.ceil(truth)
    return math.isclose(claim, truth, rel_tol=0.0, abs_tol=FRACTION)


def _unread_schedule(books: CellBooks) -> str | None:
    """Return why a loop of one's own cannot have honoured the schedule asked for, or None."""
    scenario, unread = books.scenario, books.claimed.unread
    if "warmup_steps" in unread and scenario.warmup_steps:
        return "the loop never reads args.warmup_steps"
    has_schedule = books.observed.scheduler_steps > 0
    if "lr_scheduler_type" in unread and not (scenario.lr_schedule is LrSchedule.LINEAR and has_schedule):
        return "the loop never reads args.lr_scheduler_type"
    return None


def _count_finding(books: CellBooks, update: Update | None) -> Finding:
    observed = books.observed
    got = update.schedule_position if update else observed.scheduler_steps
    want = update.index - 1 if update else observed.optimizer_steps
    when = f"before optimizer step {update.index}" if update else "in all"
    return Finding(
        expected=f"{want} scheduler steps {when}",
        got=f"{got} scheduler steps",
        formula=f"scheduler steps = optimizer steps = {want}",
        event=update.event if update else None,
        update=update.index if update else None,
        text=f"the schedule had advanced {got} times {when}",
    )
