"""Rule `resume`: a run that was interrupted and resumed is the run that was not."""

from __future__ import annotations

from ...ledger import Update, UpdateDigest
from ..books import CellBooks, Finding, Findings, NotJudged
from .weights import close

__all__ = ["judge_resume"]

NORM = 1e-6
"""A resumed run does the same operations in the same order from the same numbers; what may differ is the address of a
tensor, and with it the order in which a vectorised sum adds: a few units of 2^-24."""


def judge_resume(books: CellBooks) -> Findings:
    """Rows, windows, rates and weights of every update, and the final parameters, are the uninterrupted run's."""
    resumption = books.resumption
    if resumption is None:
        return NotJudged(reason="the run was not interrupted")
    done, whole = books.observed.done, resumption.uninterrupted
    where = (
        f"interrupted after optimizer step {resumption.interrupted_after}, resumed at {resumption.resumed_at}: "
        "updates of both parts = updates of the uninterrupted run"
    )
    for number, (got, want) in enumerate(zip(done, whole, strict=False), start=1):
        difference = _difference(got, want)
        if difference is not None:
            what, due, found = difference
            return [
                Finding(
                    expected=f"{what} {due} in optimizer step {number}",
                    got=f"{what} {found}",
                    formula=where,
                    event=got.event,
                    update=number,
                    text=f"optimizer step {number}, {_part(number, resumption.resumed_at)}, is another than in the "
                    "uninterrupted run",
                )
            ]
    if len(done) != len(whole):
        extra = done[len(whole) :]
        return [
            Finding(
                expected=f"{len(whole)} optimizer steps in both parts together",
                got=f"{len(done)} optimizer steps",
                formula=where,
                event=extra[0].event if extra else None,
                update=min(len(done), len(whole)) + 1,
                text="the resumed run ends elsewhere than the uninterrupted one",
                value=len(done),
                due=len(whole),
            )
        ]
    if resumption.parameter_distance == 0.0:
        return []
    return [
        Finding(
            expected="the same final parameters, bit for bit",
            got=f"a parameter differs by {resumption.parameter_distance:.3g}",
            formula=where,
            event=done[-1].event if done else None,
            update=None,
            text="rows, rates and weights agree, the final parameters do not: some state was not restored",
            value=resumption.parameter_distance,
            due=0.0,
        )
    ]


def _difference(got: Update, want: UpdateDigest) -> tuple[str, str, str] | None:
    """Return what differs, the right value and the wrong one."""
    rows = tuple(item.rows for item in got.window)
    if rows != want.rows:
        return "rows", _rows(want.rows), _rows(rows)
    if got.learning_rates != want.learning_rates:
        return "lr", ", ".join(map(repr, want.learning_rates)), ", ".join(map(repr, got.learning_rates))
    pairs = (
        []
        if got.grad_norm is None or want.grad_norm is None
        else [("gradient norm", want.grad_norm, got.grad_norm)]
    )
    if want.weights is not None:
        mine = got.weights or {}
        pairs += [
            (f"weight of row {row}", weight, mine.get(row, 0.0)) for row, weight in want.weights.items()
        ]
        pairs += [
            (f"weight of row {row}", 0.0, weight) for row, weight in mine.items() if row not in want.weights
        ]
    for what, due, found in pairs:
        if not close(found, due, NORM):
            return what, f"{due:.9g}", f"{found:.9g}"
    return None


def _rows(windows: tuple[tuple[int, ...], ...]) -> str:
    return " | ".join(", ".join(map(str, rows)) for rows in windows) or "none"


def _part(number: int, resumed_at: int) -> str:
    return (
        "before the interruption" if number <= resumed_at else f"{number - resumed_at} after the resumption"
    )
