"""Both books side by side around the first event that differs: what was due left, what was seen right, aligned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..contract import CellBooks, Finding, window_weights
from ..contract.rules.weights import unclipped_weights
from ..ledger import MicroBatch, Update

__all__ = ["Alignment", "SideBySide", "SideLine", "side_by_side"]

_AROUND = 3
"""lines before and after the one at which the books part"""
_NOTHING = "–"
_FEW = 8
_RELATIVE = 1e-9


class Alignment(StrEnum):
    """What one line of the two books is."""

    UPDATE = "update"
    MICRO_BATCH = "micro-batch"
    ROW = "row"
    LOG = "log entry"


@dataclass(frozen=True, kw_only=True, slots=True)
class SideLine:
    """One line of both books.

    Attributes:
        key: what the line is about, e.g. `update 3`.
        due: what the contract says; `–` where its books have ended.
        seen: what the ledger says; `–` where the run has ended.
        differs: whether the two part here.
    """

    key: str
    due: str
    seen: str
    differs: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SideBySide:
    """The two books around the place where they part.

    Attributes:
        title: which rule, and what happened there.
        before, after: lines that are left out above and below.
    """

    rule: str
    alignment: Alignment
    title: str
    lines: tuple[SideLine, ...]
    before: int
    after: int

    def text(self) -> list[str]:
        """Return the table as lines of text; `>` marks where the books part."""
        key = max((len(line.key) for line in self.lines), default=0)
        due = max((len(line.due) for line in self.lines), default=0)
        due = max(due, len("due"))
        shown = [f"  {'':<{key}}  {'due':<{due}}  seen"]
        if self.before:
            shown.append(f"  {'…':<{key}}  {self.before} before")
        for line in self.lines:
            mark = ">" if line.differs else " "
            shown.append(f"{mark} {line.key:<{key}}  {line.due:<{due}}  {line.seen}".rstrip())
        if self.after:
            shown.append(f"  {'…':<{key}}  {self.after} after")
        return shown


_ALIGNED = {
    "coverage": Alignment.MICRO_BATCH,
    "tokens": Alignment.MICRO_BATCH,
    "weight": Alignment.ROW,
    "leak": Alignment.ROW,
    "epoch": Alignment.LOG,
    "log": Alignment.LOG,
}


def side_by_side(books: CellBooks, rule: str, finding: Finding) -> SideBySide:
    """Lay the two books side by side around a finding.

    Args:
        books: the cell's.
        rule: the broken rule; it decides what is aligned with what.
        finding: where they part.
    """
    alignment = _ALIGNED.get(rule, Alignment.UPDATE)
    if alignment is Alignment.ROW and not any(item.index == finding.update for item in books.observed.done):
        alignment = Alignment.UPDATE
    lines = {
        Alignment.UPDATE: _updates,
        Alignment.MICRO_BATCH: _micro_batches,
        Alignment.ROW: _rows,
        Alignment.LOG: _log,
    }[alignment](books, finding)
    marked = next((number for number, line in enumerate(lines) if line.differs), None)
    if marked is None:
        marked = min(max((finding.update or 1) - 1, 0), max(len(lines) - 1, 0))
    first, last = max(0, marked - _AROUND), min(len(lines), marked + _AROUND + 1)
    return SideBySide(
        rule=rule,
        alignment=alignment,
        title=finding.text,
        lines=tuple(lines[first:last]),
        before=first,
        after=len(lines) - last,
    )


def _updates(books: CellBooks, finding: Finding) -> list[SideLine]:
    del finding
    observed, expected = books.observed.updates, books.expected
    lines = []
    for position in range(max(len(observed), len(expected.windows))):
        due_facts: tuple[int, float] | None = None
        due = seen = _NOTHING
        if position < len(expected.windows):
            due_facts = (expected.windows[position], expected.learning_rates[position])
            due = f"{_count(due_facts[0])}, lr {due_facts[1]:.6g}"
        differs = position >= len(observed) or due_facts is None
        if position < len(observed):
            update = observed[position]
            rates = "/".join(f"{rate:.6g}" for rate in dict.fromkeys(update.learning_rates))
            seen = f"{_count(len(update.window))}, lr {rates}, rows {_few(update.rows)}"
            seen += ", suppressed" if update.suppressed else ""
            if due_facts is not None:
                rate_differs = any(abs(rate - due_facts[1]) > _RELATIVE for rate in update.learning_rates)
                differs = len(update.window) != due_facts[0] or rate_differs or update.suppressed
        lines.append(SideLine(key=f"update {position + 1}", due=due, seen=seen, differs=differs))
    left = books.observed.unstepped
    if left:
        seen = f"{_count(len(left))} without a step, rows {_few([row for item in left for row in item.rows])}"
        lines.append(SideLine(key="no update", due=_NOTHING, seen=seen, differs=True))
    return lines


def _micro_batches(books: CellBooks, finding: Finding) -> list[SideLine]:
    terms, expected = books.expected.terms, books.expected
    seen_in: list[tuple[MicroBatch, str]] = [
        (item, f"update {update.index}") for update in books.observed.updates for item in update.window
    ]
    seen_in += [(item, "no update") for item in books.observed.unstepped]
    seen_in.sort(key=lambda pair: pair[0].index)
    ends = [sum(expected.windows[: number + 1]) for number in range(len(expected.windows))]
    lines, met = [], dict[int, set[int]]()
    for position in range(max(len(seen_in), expected.micro_batches)):
        due = seen = _NOTHING
        differs = position >= expected.micro_batches or position >= len(seen_in)
        if position < expected.micro_batches:
            epoch, within = divmod(position, max(terms.M, 1))
            update = next(number for number, end in enumerate(ends, 1) if position < end)
            rows = min(terms.B, terms.rows - within * terms.B * terms.R)
            due = f"epoch {epoch + 1}, update {update}, {rows} rows"
        if position < len(seen_in):
            item, where = seen_in[position]
            again = set(item.rows) & met.setdefault(item.epoch, set())
            met[item.epoch] |= set(item.rows)
            seen = f"epoch {item.epoch + 1}, {where}, {len(item.rows)} rows: {_few(item.rows)}"
            seen += f", {item.input_tokens} tokens" + (f", again: {_few(sorted(again))}" if again else "")
            differs = differs or not seen.startswith(due) or bool(again) or item.event == finding.event
        lines.append(SideLine(key=f"micro-batch {position}", due=due, seen=seen, differs=differs))
    return lines


def _rows(books: CellBooks, finding: Finding) -> list[SideLine]:
    update = next(item for item in books.observed.done if item.index == finding.update)
    due_weights = window_weights(books.contract, books.scenario, update)
    weights = unclipped_weights(books, update) or {}
    tokens = _tokens(update)
    lines = []
    for row in dict.fromkeys((*due_weights, *weights)):
        want, got = due_weights.get(row), weights.get(row, 0.0)
        count = f" × {tokens[row]} tokens" if row in tokens else ""
        due = "not in this window" if want is None else f"{_divisor(want)}{count}"
        differs = want is None or abs(got - want) > _RELATIVE * abs(want)
        ratio = f" ({got / want:.6g} times)" if want and differs else ""
        seen = f"{_divisor(got)}{count}{ratio}"
        lines.append(SideLine(key=f"update {update.index}, row {row}", due=due, seen=seen, differs=differs))
    return lines


def _log(books: CellBooks, finding: Finding) -> list[SideLine]:
    lines, expected, done = [], books.expected, books.observed.done
    for entry in books.claimed.log or ():
        at = entry.global_step
        due = _NOTHING
        if at is not None and 0 < at <= len(done):
            truth = [f"lr {done[at - 1].learning_rates[0]:.6g}"]
            if at <= len(expected.epochs_after):
                truth.insert(0, f"epoch {float(expected.epochs_after[at - 1]):.6g}")
            due = ", ".join(truth)
        said = {"epoch": entry.epoch, "lr": entry.learning_rate, "loss": entry.loss, "norm": entry.grad_norm}
        seen = ", ".join(f"{name} {value:.6g}" for name, value in said.items() if value is not None)
        lines.append(SideLine(key=f"global_step {at}", due=due, seen=seen, differs=at == finding.update))
    if books.claimed.epoch is not None and expected.epochs_after:
        claim, due_epoch = float(books.claimed.epoch), float(expected.epochs_after[-1])
        differs = abs(claim - due_epoch) > _RELATIVE
        lines.append(
            SideLine(
                key="at the end", due=f"epoch {due_epoch:.6g}", seen=f"epoch {claim:.6g}", differs=differs
            )
        )
    return lines


def _tokens(update: Update) -> dict[int, int]:
    return {
        row: count for item in update.window for row, count in zip(item.rows, item.label_tokens, strict=True)
    }


def _divisor(weight: float) -> str:
    return f"1/{1 / weight:.6g}" if weight else "0"


def _count(size: int) -> str:
    return f"{size} micro-batch{'' if size == 1 else 'es'}"


def _few(values: Sequence[int]) -> str:
    text = " ".join(str(value) for value in values[:_FEW])
    return text + (f" … ({len(values)})" if len(values) > _FEW else "")
