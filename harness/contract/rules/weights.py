"""Rules about the gradient that reached the optimizer: `weight`, `leak`, `clip`."""

from __future__ import annotations

import math

from ...ledger import Update
from ..books import CellBooks, Finding, Findings, NotJudged
from ..contracts import Reduction

__all__ = ["judge_clip", "judge_leak", "judge_weight"]

RELATIVE = 1e-9
"""Weights are float64 sums of at most some thousand terms of one sign, each with a handful of roundings of
2^-53: their relative error stays below 1e-12; the smallest accounting fault that a suite can show, one token
in 10^6, is 1e-6."""

_NO_WEIGHTS = NotJudged(reason="the ledger has no weight books (they need the tracer model or a projection)")
_CLIP_EPSILON = 1e-6
"""torch.nn.utils.clip_grad_norm_ divides by (norm + 1e-6)"""


def judge_weight(books: CellBooks) -> Findings:
    """Every label token of a window weighs what the contract's reduction says, all the same for a token mean."""
    if not _has_weights(books):
        return _NO_WEIGHTS
    for update in books.observed.done:
        expected = _expected_weights(books, update)
        factor = _clip_factor(books, update, expected)
        if factor == 0.0 or not expected:
            continue
        weights = update.weights or {}
        wrong = [
            row
            for row, weight in expected.items()
            if not _close(weights.get(row, 0.0) / factor, weight)
        ]
        if wrong:
            return [_weight_finding(books, update, expected, wrong[0], weights.get(wrong[0], 0.0) / factor)]
    return []


def judge_leak(books: CellBooks) -> Findings:
    """A fetched row enters one update only: no row weighs in an update whose window it is not in."""
    if not _has_weights(books):
        return _NO_WEIGHTS
    for update in books.observed.done:
        own = set(update.rows)
        foreign = {row: weight for row, weight in (update.weights or {}).items() if row not in own}
        if foreign:
            row, weight = next(iter(foreign.items()))
            return [
                Finding(
                    expected=f"only the {len(own)} rows of the window in optimizer step {update.index}",
                    got=f"{len(foreign)} more row{'s' if len(foreign) > 1 else ''}, row {row} with weight {weight:.6g}",
                    formula="weight of a row outside the window = 0",
                    event=update.event,
                    update=update.index,
                    text=f"the gradient of row {row} from an earlier window reached optimizer step {update.index}",
                )
            ]
    return []


def judge_clip(books: CellBooks) -> Findings:
    """The gradient norm at the optimizer is min(1, max_grad_norm / (norm + 1e-6)) times the window's norm."""
    limit = books.scenario.max_grad_norm
    if limit and "max_grad_norm" in books.claimed.unread:
        return NotJudged(reason="the loop never reads args.max_grad_norm")
    for update in books.observed.done:
        norm = update.grad_norm
        if norm is None:
            return NotJudged(reason="the gradient norm at the optimizer was not observed")
        clip = update.clip
        before = clip.total_norm if clip else norm
        after = before * min(1.0, limit / (before + _CLIP_EPSILON)) if limit else before
        if _close(norm, after, 1e-6) or (limit and not clip and norm <= limit * (1 + 1e-6)):
            continue  # norms are summed in the gradients' dtype, float32 at the least: hence 1e-6
        return [
            Finding(
                expected=f"gradient norm {after:.6g}",
                got=f"gradient norm {norm:.6g}",
                formula=f"norm · min(1, max_grad_norm / (norm + 1e-6)) = {before:.6g} · min(1, {limit:g} / {before:.6g})"
                if limit
                else "max_grad_norm = 0: no clipping",
                event=update.event,
                update=update.index,
                text=f"optimizer step {update.index} got a gradient of norm {norm:.6g}"
                + ("" if clip else "; no clipping was seen before it"),
            )
        ]
    return []


def _has_weights(books: CellBooks) -> bool:
    return all(update.weights is not None for update in books.observed.done)


def _expected_weights(books: CellBooks, update: Update) -> dict[int, float]:
    """Weight of one label token of each row of the window; rows without label tokens are left out."""
    reduction = books.contract.reduction[books.scenario.loss_protocol]
    total, size = update.label_tokens, len(update.window)
    weights: dict[int, float] = {}
    for micro_batch in update.window:
        own = sum(micro_batch.label_tokens)
        divisor = {
            Reduction.TOKEN_MEAN: total,
            Reduction.MEAN_OF_MEANS: own * size,
            Reduction.MEAN_OVER_ACCUM: own * books.scenario.grad_accum,
        }[reduction]
        for row, tokens in zip(micro_batch.rows, micro_batch.label_tokens, strict=True):
            if tokens:
                weights[row] = weights.get(row, 0.0) + 1.0 / divisor
    return weights


def _clip_factor(books: CellBooks, update: Update, expected: dict[int, float]) -> float:
    """What clipping multiplied the gradient with: from the clip that was seen, or, where a loop clips by its own
    code, the factor that the contract predicts if the gradient's norm has it."""
    clip, limit = update.clip, books.scenario.max_grad_norm
    if clip is not None:
        return min(1.0, clip.max_norm / (clip.total_norm + _CLIP_EPSILON))
    if not limit or update.grad_norm is None:
        return 1.0
    tokens = {
        row: count
        for micro_batch in update.window
        for row, count in zip(micro_batch.rows, micro_batch.label_tokens, strict=True)
    }
    norm = math.sqrt(sum((weight * tokens[row]) ** 2 for row, weight in expected.items()))
    factor = min(1.0, limit / (norm + _CLIP_EPSILON))
    return factor if _close(update.grad_norm, norm * factor, 1e-5) else 1.0


def _weight_finding(
    books: CellBooks, update: Update, expected: dict[int, float], row: int, got: float
) -> Finding:
    reduction = books.contract.reduction[books.scenario.loss_protocol]
    want = expected[row]
    micro_batch = next(item for item in update.window if row in item.rows)
    own, size, accum = sum(micro_batch.label_tokens), len(update.window), books.scenario.grad_accum
    formula = {
        Reduction.TOKEN_MEAN: f"1 / N = 1 / {update.label_tokens}",
        Reduction.MEAN_OF_MEANS: f"1 / (n·W) = 1 / ({own}·{size})",
        Reduction.MEAN_OVER_ACCUM: f"1 / (n·A) = 1 / ({own}·{accum})",
    }[reduction]
    ratio = f"{got / want:.6g} times what it should be" if want else ""
    return Finding(
        expected=f"{want:.6g} a label token",
        got=f"{got:.6g}, {ratio}",
        formula=formula,
        event=update.event,
        update=update.index,
        text=f"in optimizer step {update.index} each label token of row {row} weighs {got:.6g} = {_as_divisor(got)}",
        value=round(got / want, 9),
        due=1.0,
    )


def _as_divisor(weight: float) -> str:
    return f"1 / {1 / weight:.6g}" if weight else "nothing"


def _close(got: float, want: float, relative: float = RELATIVE) -> bool:
    return math.isfinite(got) and abs(got - want) <= relative * abs(want)
