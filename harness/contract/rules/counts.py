"""Rules about totals: `target`, `claim`, `plan`."""

from __future__ import annotations

from ..books import CellBooks, Finding, Findings, NotJudged
from ..formulas import target_formula

__all__ = ["judge_claim", "judge_plan", "judge_target"]


def judge_target(books: CellBooks) -> Findings:
    """Optimizer steps = T."""
    observed, expected = books.observed, books.expected
    # Asked for epochs, the data are what was asked for: nothing makes up for an attempt that a scaler suppressed.
    lost = 0 if books.scenario.max_steps else observed.skipped_steps
    got, want = observed.optimizer_steps, max(expected.optimizer_steps - lost, 0)
    if got == want and not observed.stopped:
        return []
    if got > want:
        extra = observed.done[want]
        event, update, text = (
            extra.event,
            extra.index,
            f"optimizer step {extra.index} ran after the last one, {want}",
        )
    elif got < want:
        event, update, text = (
            None,
            got + 1,
            f"the ledger ends after optimizer step {got}: step {got + 1} never came",
        )
    else:
        event, update, text = None, None, f"after optimizer step {got} it goes on without a further one"
    if observed.stopped:
        text += f"; the audit stopped the run after {observed.micro_batches} micro-batches"
    return [
        Finding(
            expected=_steps(want),
            got=_steps(got) + (", and no end" if observed.stopped else ""),
            formula=target_formula(books.scenario, expected.terms, books.contract),
            event=event,
            update=update,
            text=text,
            value=got,
            due=want,
        )
    ]


def judge_claim(books: CellBooks) -> Findings:
    """Claimed global_step = optimizer steps observed."""
    claimed, done = books.claimed.global_step, books.observed.optimizer_steps
    if claimed is None:
        return NotJudged(reason="the trainer claims no global_step")
    if claimed == done:
        return []
    wrong = next(
        (
            point
            for point in books.observed.logs
            if point.entry.global_step not in (None, point.optimizer_steps)
        ),
        None,
    )
    return [
        Finding(
            expected=f"global_step = {done}",
            got=f"global_step = {claimed}",
            formula=f"global_step = optimizer steps observed = {done}",
            event=wrong.event if wrong else None,
            update=wrong.optimizer_steps if wrong else None,
            text=f"the log says {wrong.entry.global_step} after optimizer step {wrong.optimizer_steps}"
            if wrong
            else f"at the end the trainer says {claimed}, the optimizer stepped {done} times",
            value=claimed,
            due=done,
        )
    ]


def judge_plan(books: CellBooks) -> Findings:
    """Announced totals (state, banner, progress bar) = T."""
    planned, terms = books.claimed.planned_steps, books.expected.terms
    if not planned:
        return NotJudged(reason="the trainer announces no total")
    if terms.M == 0:
        return NotJudged(reason="drop_last leaves no micro-batch: there is nothing to plan")
    return [
        Finding(
            expected=_steps(terms.T),
            got=f"{_steps(total)} ({source})",
            formula=target_formula(books.scenario, terms, books.contract),
            event=None,
            update=None,
            text=f"the trainer's {source} announces {total}",
            value=total,
            due=terms.T,
        )
        for source, total in planned.items()
        if total != terms.T
    ]


def _steps(count: int) -> str:
    return f"{count} optimizer step{'' if count == 1 else 's'}"
