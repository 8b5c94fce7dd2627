"""Rules about which micro-batches and rows make up the updates: `window`, `remainder`, `coverage`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ...ledger import MicroBatch, Update
from ..books import CellBooks, Finding, Findings
from ..contracts import Windows
from ..formulas import micro_batches_formula
from ..padding import padding_reads

__all__ = ["judge_coverage", "judge_remainder", "judge_window"]


def judge_window(books: CellBooks) -> Findings:
    """No window is longer than A, and the windows partition the epoch."""
    parting = _parting(books)
    if parting is None or parting.is_remainder:
        updates = books.observed.updates
        for update in updates:
            if len(update.window) > books.scenario.grad_accum:
                return [_size_finding(books, update, None)]
            if (
                books.contract.windows is Windows.PER_EPOCH
                and len({item.epoch for item in update.window}) > 1
            ):
                return [_straddle_finding(books, update)]
        return []
    if parting.update is None:
        return []  # windows that never came are the target's matter
    return [_size_finding(books, parting.update, parting.expected)]


def judge_remainder(books: CellBooks) -> Findings:
    """The short last window of an epoch is stepped."""
    parting, scenario = _parting(books), books.scenario
    terms = books.expected.terms
    short = terms.M % terms.A
    left = books.observed.unstepped
    if parting is not None and parting.is_remainder:
        event = parting.update.event if parting.update else None
        text = (
            f"optimizer step {parting.position + 1} closed a window of {micro_batch_count(len(parting.update.window))}"
            if parting.update
            else f"the ledger ends before optimizer step {parting.position + 1}, the short window of its epoch"
        )
        got = micro_batch_count(len(parting.update.window)) if parting.update else "never stepped"
        update: int | None = parting.position + 1
    elif left:
        event, update = left[0].event, None
        got = f"{micro_batch_count(len(left))} computed and never stepped"
        text = f"micro-batch {left[0].index} is the first whose gradient no optimizer step used"
    else:
        return []
    return [
        Finding(
            expected=f"a window of {micro_batch_count(short)} at the epoch's end"
            if short
            else "nothing left unstepped",
            got=got,
            formula=f"M % A = {terms.M} % {terms.A} = {short}; {micro_batches_formula(scenario, terms)}",
            event=event,
            update=update,
            text=text,
        )
    ]


def judge_coverage(books: CellBooks) -> Findings:
    """Each row enters once an epoch: exactly once in a complete one, at most once in a partial one."""
    terms, scenario = books.expected.terms, books.scenario
    passes: dict[int, list[MicroBatch]] = {}
    for update in books.observed.updates:
        for micro_batch in update.window:
            passes.setdefault(micro_batch.epoch, []).append(micro_batch)
    if not passes:
        return []
    last = max(passes)
    whole_run = books.observed.optimizer_steps >= terms.T and (
        terms.T % terms.U == 0 or books.contract.windows is not Windows.PER_EPOCH
    )
    for epoch, micro_batches in sorted(passes.items()):
        counts = Counter(row for item in micro_batches for row in item.rows) - padding_reads(
            books, micro_batches
        )
        repeated = {row: times for row, times in counts.items() if times > 1}
        if repeated:
            row = max(repeated, key=repeated.__getitem__)
            reads = [item for item in micro_batches for read in item.rows if read == row]
            got = f"row {row} {repeated[row]} times"
            return [_row_finding(books, epoch, got, reads[1], f"row {row} again")]
        complete = epoch < last or (whole_run and epoch == terms.E - 1)
        due = _rows_due(books)
        too_many, too_few = len(counts) > due, complete and len(counts) < due
        if (too_many or too_few) and books.contract.windows is Windows.PER_EPOCH:
            missing = next((row for row in range(scenario.rows) if row not in counts), None)
            what = f"{len(counts)} rows" + (f", row {missing} missing," if too_few else "")
            return [_row_finding(books, epoch, what, micro_batches[-1], "the last micro-batch of the epoch")]
    return []


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parting:
    """The first place where observed and expected window sizes differ; `update` is None where one is missing."""

    position: int
    update: Update | None
    expected: int | None
    is_remainder: bool


def _parting(books: CellBooks) -> _Parting | None:
    observed, expected = books.observed.updates, books.expected.windows
    accum = books.scenario.grad_accum
    for position, (update, size) in enumerate(zip(observed, expected, strict=False)):
        if len(update.window) != size:
            return _Parting(
                position=position,
                update=update,
                expected=size,
                is_remainder=size < min(accum, len(update.window)),
            )
    if len(observed) < len(expected):
        size = expected[len(observed)]
        return _Parting(position=len(observed), update=None, expected=size, is_remainder=size < accum)
    return None


def _size_finding(books: CellBooks, update: Update, expected: int | None) -> Finding:
    terms = books.expected.terms
    size = len(update.window)
    short = terms.M % terms.A
    return Finding(
        expected=f"at most {micro_batch_count(terms.A)}" if expected is None else micro_batch_count(expected),
        got=micro_batch_count(size),
        formula=f"A = {micro_batch_count(terms.A)} a window"
        + (f", M % A = {terms.M} % {terms.A} = {short} in an epoch's last" if short else ""),
        event=update.event,
        update=update.index,
        text=f"optimizer step {update.index} closed a window of {micro_batch_count(size)} "
        f"(rows {_few(update.rows)})",
        value=size,
        due=expected,
    )


def _straddle_finding(books: CellBooks, update: Update) -> Finding:
    epochs = sorted({item.epoch + 1 for item in update.window})
    first = next(item for item in update.window if item.epoch + 1 == epochs[-1])
    return Finding(
        expected="micro-batches of one epoch in a window",
        got=f"a window over epochs {epochs[0]} and {epochs[-1]}",
        formula=f"windows partition the epoch of M = {books.expected.terms.M} micro-batches",
        event=first.event,
        update=update.index,
        text=f"optimizer step {update.index} took micro-batch {first.index} of epoch {epochs[-1]} into its window",
    )


def _row_finding(books: CellBooks, epoch: int, got: str, micro_batch: MicroBatch, text: str) -> Finding:
    rows = books.scenario.rows
    due = f"{_rows_due(books)} of {rows} rows" if books.scenario.drop_last else f"{rows} rows"
    return Finding(
        expected=f"{due}, each once an epoch",
        got=f"{got} in epoch {epoch + 1}",
        formula=f"rows of an epoch = {'M·B·R' if books.scenario.drop_last else 'rows'} = {due.split(maxsplit=1)[0]}, "
        "each once",
        event=micro_batch.event,
        update=None,
        text=f"{text}: micro-batch {micro_batch.index} (rows {_few(micro_batch.rows)})",
    )


def _rows_due(books: CellBooks) -> int:
    terms = books.expected.terms
    return (
        terms.M * terms.B * terms.R * books.contract.rows_per_sequence
        if books.scenario.drop_last
        else books.scenario.rows
    )


def _few(rows: tuple[int, ...], most: int = 8) -> str:
    text = ", ".join(str(row) for row in rows[:most])
    return text + (f", … {len(rows)} in all" if len(rows) > most else "")


def micro_batch_count(count: int) -> str:
    """`1 micro-batch`, `2 micro-batches`."""
    return f"{count} micro-batch{'' if count == 1 else 'es'}"
