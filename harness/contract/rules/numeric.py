"""Rules about what the arithmetic came to: `curve` and `params`, within the rounding noise of the very run."""

from __future__ import annotations

import math
import operator

from ...ledger import ParameterDistance
from ..books import CellBooks, Finding, Findings, NotJudged
from ..curves import clipped_unseen

__all__ = ["MULTIPLE", "judge_curve", "judge_params"]

MULTIPLE = 8.0
"""How many envelopes a run may lie from the float64 replay. Two ways to round the same sums (another kernel, another
order, a window added up in one go) differ by a small factor from each other. design/numeric.md has the measurement."""

PARAMETER_FLOOR = 4.0
"""least distance allowed to a parameter, in units of 2^-24 times its norm: the value that is stored is rounded that far
by itself, once an update at most, and roundings of either sign add up slowly"""

RATE = 1e-12
"""rates are float64 arithmetic in every precision (see `schedule`)"""

_UNIT = 2.0**-24


def judge_curve(books: CellBooks) -> Findings:
    """Loss, gradient norm and rate of every update lie within MULTIPLE envelopes of the float64 replay.

    The set of updates is compared first, then values; NaN equals nothing. Where the reference trained on the same rows
    in the same order, by a contract that promises the same weights, the run is compared with it too: both may be
    MULTIPLE envelopes off, so 2·MULTIPLE.
    """
    replay = books.replay
    if replay is None:
        return NotJudged(reason="no replay: the tracer's books are exact, curves belong to the numeric tier")
    if not replay.updates:
        return NotJudged(reason="no optimizer step to compare")
    subject, exact, envelope = replay.subject, replay.exact, replay.envelope
    # What a clip of the loop's own made of a norm is the norm of the rule `clip`, not of the replay.
    norms = tuple(
        None if clipped_unseen(update, books.scenario) else norm
        for update, norm in zip(books.observed.done, exact.grad_norms, strict=False)
    )
    partings = []
    for name, got, want, width in (
        ("learning rate", subject.learning_rates, exact.learning_rates, envelope.learning_rates),
        ("loss", subject.losses, exact.losses, envelope.losses),
        ("gradient norm", subject.grad_norms, norms, envelope.grad_norms),
    ):
        if name == "loss" and all(value is None for value in got):
            continue  # a trainer that computes the loss itself and does not log it: norms and rates remain
        slack = RATE * books.scenario.learning_rate if name == "learning rate" else 0.0
        finding = _parting(
            books, name, got, want, width, MULTIPLE, slack, "the float64 replay of its windows"
        )
        if finding is not None:
            partings.append(finding)
    if not partings and (found := _beside_reference(books)) is not None:
        partings.append(found)
    # The first update at which anything parts: a wrong rate shows in the loss of the next one.
    return [min(partings, key=operator.attrgetter("update"))] if partings else []


def judge_params(books: CellBooks) -> Findings:
    """Every trained parameter ends within MULTIPLE rounding distances of where the float64 replay ends."""
    replay = books.replay
    if replay is None:
        return NotJudged(
            reason="no replay: the tracer's books are exact, parameters belong to the numeric tier"
        )
    if not replay.complete:
        return NotJudged(
            reason=f"the run goes on after optimizer step {replay.updates}, its target, and its replay does not"
        )
    if not replay.parameters:
        return NotJudged(
            reason="the trainer has rebuilt the model: its parameters have other names or shapes"
        )
    bounds = [(item, _allowed(item, replay.parameters)) for item in replay.parameters]
    wrong = [(item, allowed) for item, allowed in bounds if not item.subject <= allowed]
    if not wrong:
        return []
    worst, allowed = max(wrong, key=lambda pair: pair[0].subject / pair[1] if pair[1] else math.inf)
    return [
        Finding(
            expected=f"{worst.name} within {allowed:.3g} of the float64 replay",
            got=f"{worst.subject:.3g} away, {_times(worst.subject, allowed / MULTIPLE)} the rounding distance",
            formula=f"|θ - θ_float64| ≤ {MULTIPLE:g} · max(|θ_{replay.precision} - θ_float64|, floor) = {MULTIPLE:g} · "
            f"{allowed / MULTIPLE:.3g}",
            event=books.observed.done[-1].event if books.observed.done else None,
            update=replay.updates,
            text=f"{len(wrong)} of {len(replay.parameters)} parameters end elsewhere after {replay.updates} updates; "
            f"training moved {worst.name} by {worst.moved:.3g}",
        )
    ]


def _allowed(item: ParameterDistance, everything: tuple[ParameterDistance, ...]) -> float:
    """Return the distance allowed to one parameter.

    Rounding noise comes to it through the others: relative to how far it was moved it may be as large as theirs.
    """
    moved = math.hypot(*(entry.moved for entry in everything))
    spread = math.hypot(*(entry.own for entry in everything)) / moved * item.moved if moved else 0.0
    return MULTIPLE * max(item.own, spread, PARAMETER_FLOOR * _UNIT * item.norm)


def _parting(
    books: CellBooks,
    name: str,
    got: tuple[float | None, ...],
    want: tuple[float | None, ...],
    width: tuple[float | None, ...],
    multiple: float,
    slack: float,
    other: str,
) -> Finding | None:
    values = list(enumerate(zip(got, want, width, strict=True), start=1))
    missing = [at for at, (one, two, _) in values if one is None and two is not None]
    if missing:
        return _finding(
            books, missing[0], f"a {name} at every update, as {other} has", f"none at update {missing[0]}", ""
        )
    for at, (one, two, half) in values:
        if one is None or two is None:
            continue
        allowed = multiple * (math.nan if half is None else half) + slack
        if abs(one - two) <= allowed:
            continue
        return _finding(
            books,
            at,
            f"{name} {two:.9g} ± {allowed:.2g}",
            f"{name} {one:.9g}, {_times(abs(one - two), allowed / multiple)} the envelope away",
            f"|{name} - {two:.9g}| ≤ {multiple:g} · {allowed / multiple:.3g}, the rounding noise of this run so far",
            f"{name} of optimizer step {at} against {other}",
        )
    return None


def _beside_reference(books: CellBooks) -> Finding | None:
    reference, replay = books.reference, books.replay
    if reference is None or replay is None:
        return None
    if books.contract.reduction[books.scenario.loss_protocol] is not reference.reduction:
        return None
    rows = tuple(tuple(item.rows for item in update.window) for update in books.observed.done)
    if rows != reference.rows or len(rows) != replay.updates:
        return None
    own = books.curves
    for name, got, want, width in (
        ("loss", own.losses, reference.curves.losses, replay.envelope.losses),
        ("gradient norm", own.grad_norms, reference.curves.grad_norms, replay.envelope.grad_norms),
    ):
        if all(value is None for value in got) or all(value is None for value in want):
            continue
        found = _parting(
            books,
            name,
            got,
            want,
            width,
            2 * MULTIPLE,
            0.0,
            "the reference, on the same rows in the same order",
        )
        if found is not None:
            return found
    return None


def _finding(books: CellBooks, at: int, expected: str, got: str, formula: str, text: str = "") -> Finding:
    return Finding(
        expected=expected,
        got=got,
        formula=formula or "the set of updates is the same; NaN equals nothing",
        event=books.observed.done[at - 1].event,
        update=at,
        text=text or f"optimizer step {at} has no such value",
    )


def _times(distance: float, unit: float) -> str:
    return f"{distance / unit:.3g} times" if unit and math.isfinite(unit) else "beyond"
