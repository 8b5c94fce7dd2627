"""Rule `skip`: an update that a grad scaler suppressed is none."""

from __future__ import annotations

from ..books import CellBooks, Finding, Findings, NotJudged

__all__ = ["judge_skip"]


def judge_skip(books: CellBooks) -> Findings:
    """A suppressed attempt is counted neither in global_step nor in the schedule."""
    observed, claimed = books.observed, books.claimed
    skipped = observed.skipped_steps
    if not skipped:
        return NotJudged(reason="no attempt to update was suppressed")
    first = next(update for update in observed.updates if update.suppressed)
    done, attempts = observed.optimizer_steps, observed.optimizer_steps + skipped
    counted = f"attempts - suppressed = {attempts} - {skipped} = {done}"
    if claimed.global_step is not None and claimed.global_step != done:
        return [
            Finding(
                expected=f"global_step = {done}",
                got=f"global_step = {claimed.global_step}",
                formula=f"optimizer steps = {counted}",
                event=first.event,
                update=first.index,
                text=f"attempt {observed.updates.index(first) + 1} was suppressed, and it is counted",
                value=claimed.global_step,
                due=done,
            )
        ]
    if not observed.scheduler_steps:
        return []  # rates that a loop sets by hand are the schedule's matter
    for number, update in enumerate(observed.updates, start=1):
        if update.schedule_position > update.index - 1:
            return [
                Finding(
                    expected=f"{update.index - 1} scheduler steps before attempt {number}",
                    got=f"{update.schedule_position} scheduler steps",
                    formula=f"scheduler steps = optimizer steps before it = {number - 1} attempts - "
                    f"{number - update.index} suppressed",
                    event=update.event,
                    update=update.index,
                    text=f"the schedule had advanced {update.schedule_position} times after {update.index - 1} "
                    f"optimizer steps: it advances on suppressed attempts too",
                    value=update.schedule_position,
                    due=update.index - 1,
                )
            ]
    if observed.scheduler_steps > done:
        return [
            Finding(
                expected=f"{done} scheduler steps",
                got=f"{observed.scheduler_steps} scheduler steps",
                formula=f"scheduler steps = {counted}",
                event=observed.updates[-1].event,
                update=None,
                text="the schedule advanced on a suppressed attempt",
                value=observed.scheduler_steps,
                due=done,
            )
        ]
    return []
