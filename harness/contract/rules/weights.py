"""Rules about the gradient that reached the optimizer: `weight`, `leak`, `clip`."""

from __future__ import annotations

import math

from ....scenarios import ModelKind, Precision
from ....scenarios.lengths import label_tokens_of_row
from ...ledger import Update
from ..books import CellBooks, Finding, Findings, NotJudged
from ..causes import cause_of
from ..contracts import Reduction
from ..reduction import clip_factor, rank_tokens, window_weights

__all__ = [
    "PROJECTED",
    "clip_factor",
    "close",
    "judge_clip",
    "judge_leak",
    "judge_weight",
    "tolerance_of",
    "unclipped_weights",
]

RELATIVE = 1e-9
"""Weights are float64 sums of at most some thousand terms of one sign, each with a handful of roundings of
2^-53: their relative error stays below 1e-12; the smallest accounting fault that a suite can show, one token
in 10^6, is 1e-6."""

_NO_WEIGHTS = NotJudged(reason="the ledger has no weight books (they need the tracer model or a projection)")

PROJECTED = {Precision.FP32: 1e-5, Precision.BF16: 2e-2, Precision.FP16: 5e-3}
"""How far a weight by projection may be off, as a share of itself. The gradient that is weighed is rounded (2^-24, 2^-9
and 2^-12 an element), and so are those of the replayed rows under autocast. The worst error seen is 6e-7, 6e-3, 7e-4
(design/numeric.md). One label token more or less in a window of N changes every weight by 1/N: in bf16 that shows up to
N = 50, in fp32 up to 100,000."""

NOISE = 10.0
"""What no weighting explains of a gradient is its rounding, and weights by projection are off by a few times as much
where rows are alike or parameters have run away (seen: 5 times, AdamW at a rate of 0.5). A wrong weight leaves no
residual, so it widens nothing; a residual above `RESIDUAL` is a finding of its own."""

RESIDUAL = {Precision.FP32: 1e-5, Precision.BF16: 5e-2, Precision.FP16: 1e-2}
"""How much of the gradient's norm may be explained by no weighting of the rows. The same rounding leaves 6e-7, 1e-2,
8e-4."""


def judge_weight(books: CellBooks) -> Findings:
    """Every label token of a window weighs what the contract's reduction says, all the same for a token mean."""
    if not _has_weights(books):
        return _NO_WEIGHTS
    tolerance = tolerance_of(books)
    for update in books.observed.done:
        if update.weights is None and update.residual is None:
            continue  # not one of the updates that were sampled
        residual = update.residual or 0.0
        if math.isnan(residual):
            return [_residual_finding(books, update)]
        if unlabelled := _unlabelled_finding(books, update):
            return [unlabelled]
        expected = _expected_weights(books, update)
        factor = _clip_factor(books, update, expected)
        if factor == 0.0:
            continue
        weights = update.weights or {}
        noise = NOISE * residual if books.scenario.precision is Precision.FP32 else 0.0
        wrong = [
            row
            for row, weight in expected.items()
            if not close(weights.get(row, 0.0) / factor, weight, max(tolerance, noise))
        ]
        if wrong:
            return [_weight_finding(books, update, expected, wrong[0], weights.get(wrong[0], 0.0) / factor)]
        if residual > RESIDUAL[books.scenario.precision]:
            return [_residual_finding(books, update)]
    return []


def judge_leak(books: CellBooks) -> Findings:
    """A fetched row enters one update only: no row weighs in an update whose window it is not in."""
    if not _has_weights(books):
        return _NO_WEIGHTS
    by_projection = books.scenario.model is not ModelKind.TRACER
    for update in books.observed.done:
        if not update.weights:
            continue
        own = set(update.rows)
        heaviest = max(map(abs, update.weights.values()))
        least = tolerance_of(books) * heaviest if by_projection else 0.0
        foreign = {
            row: weight for row, weight in update.weights.items() if row not in own and abs(weight) > least
        }
        if foreign:
            row, weight = next(iter(foreign.items()))
            return [
                Finding(
                    expected=f"only the {len(own)} row{'' if len(own) == 1 else 's'} of the window in optimizer step "
                    f"{update.index}",
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
        if early := _early_clip(update):
            return [early]
        norm = update.grad_norm
        if norm is None:
            return NotJudged(reason="the gradient norm at the optimizer was not observed")
        clip = update.clip
        before = clip.total_norm if clip else norm
        after = before
        for _ in update.whole_clips or (
            "none seen",
        ):  # a second clip of the whole window changes next to nothing
            after *= clip_factor(limit, after) if limit else 1.0
        if close(norm, after, 1e-6) or (limit and not clip and norm <= limit * (1 + 1e-6)):
            continue  # norms are summed in the gradients' dtype, float32 at the least: hence 1e-6
        return [
            Finding(
                expected=f"gradient norm {after:.6g}",
                got=f"gradient norm {norm:.6g}",
                formula="norm · min(1, max_grad_norm / (norm + 1e-6)) = "
                f"{before:.6g} · min(1, {limit:g} / {before:.6g})"
                if limit
                else "max_grad_norm = 0: no clipping",
                event=update.event,
                update=update.index,
                text=f"optimizer step {update.index} got a gradient of norm {norm:.6g}"
                + ("" if clip else "; no clipping was seen before it"),
            )
        ]
    return []


def unclipped_weights(books: CellBooks, update: Update) -> dict[int, float] | None:
    """Return the weights of an update as they were before clipping; None if unknown or clipped to nothing."""
    factor = _clip_factor(books, update, _expected_weights(books, update))
    if update.weights is None or factor == 0.0:
        return None
    return {row: weight / factor for row, weight in update.weights.items()}


def _early_clip(update: Update) -> Finding | None:
    """Find a clip that scaled the gradient of an incomplete window."""
    size = len(update.window)
    for point in update.clips:
        clipped = point.clipped
        if point.micro_batches < size and clip_factor(clipped.max_norm, clipped.total_norm) < 1.0:
            return Finding(
                expected=f"one clip, of the gradient of all {size} micro-batches",
                got=f"a clip after {point.micro_batches} of {size} micro-batches",
                formula=f"norm · min(1, max_grad_norm / (norm + 1e-6)), norm over the window of {size} micro-batches",
                event=point.event,
                update=update.index,
                text=f"before optimizer step {update.index} the gradient of {point.micro_batches} of {size} "
                f"micro-batches was clipped from norm {clipped.total_norm:.6g} to {clipped.max_norm:g}",
            )
    return None


def _has_weights(books: CellBooks) -> bool:
    if books.scenario.model is ModelKind.TRACER:
        return all(update.weights is not None for update in books.observed.done)
    known = [
        update for update in books.observed.done if update.weights is not None or update.residual is not None
    ]
    return bool(known) or not books.observed.done


def tolerance_of(books: CellBooks) -> float:
    """Return how far a weight may lie from the due one, relatively: exact with the tracer, wider by projection."""
    return RELATIVE if books.scenario.model is ModelKind.TRACER else PROJECTED[books.scenario.precision]


def _unlabelled_finding(books: CellBooks, update: Update) -> Finding | None:
    """Find a row that lost all its label tokens on the way to the model: every row of the tracer's data has some.

    Where rows are cut into several sequences, a piece may well have none.
    """
    if books.scenario.model is not ModelKind.TRACER or books.contract.rows_per_sequence > 1:
        return None
    for micro_batch in update.window:
        for row, tokens in micro_batch.row_tokens:
            if not tokens and row < books.scenario.rows:
                due = label_tokens_of_row(row, books.scenario.lengths)
                return Finding(
                    expected=f"{due} label token{'' if due == 1 else 's'} of row {row} in the loss",
                    got="none",
                    formula="every label token of the window weighs, those of every row",
                    event=micro_batch.event,
                    update=update.index,
                    text=f"micro-batch {micro_batch.index} of optimizer step {update.index} has row {row} "
                    "without its labels",
                    value=0.0,
                    due=1.0,
                )
    return None


def _residual_finding(books: CellBooks, update: Update) -> Finding:
    residual, limit = update.residual, RESIDUAL[books.scenario.precision]
    return Finding(
        expected=f"a gradient that is a weighting of the window's rows, to {limit:g} of its norm",
        got=f"{residual:.3g} of its norm is explained by no weighting",
        formula="residual = |g - Σ wᵢ·gᵢ| / |g|, gᵢ = ∇Σ token losses of row i, w by least squares",
        event=update.event,
        update=update.index,
        text=f"the gradient of optimizer step {update.index} is none of these rows alone",
        value=residual,
        due=0.0,
    )


def _expected_weights(books: CellBooks, update: Update) -> dict[int, float]:
    return window_weights(books.contract, books.scenario, update)


def _clip_factor(books: CellBooks, update: Update, expected: dict[int, float]) -> float:
    """What clipping multiplied the gradient with, from the clips that were seen.

    Where a loop clips by its own code: the ratio of the norms, if it is the one that the contract predicts.
    """
    limit = books.scenario.max_grad_norm
    if update.whole_clips:
        return math.prod(clip_factor(clip.max_norm, clip.total_norm) for clip in update.whole_clips)
    if not limit or update.grad_norm is None:
        return 1.0
    if books.scenario.model is not ModelKind.TRACER:
        return _replayed_clip_factor(books, update)
    tokens = {row: count for micro_batch in update.window for row, count in micro_batch.row_tokens}
    norm = math.sqrt(sum((weight * tokens[row]) ** 2 for row, weight in expected.items()))
    # Own code may leave out torch's 1e-6, hence 1e-5; within it the ratio is the loop's, so that weights stay exact.
    is_clipped = norm > limit and close(update.grad_norm, norm * clip_factor(limit, norm), 1e-5)
    return update.grad_norm / norm if is_clipped else 1.0


def _replayed_clip_factor(books: CellBooks, update: Update) -> float:
    """The same for a real model, whose norm before clipping is known from the replay."""
    limit, replay, norm = books.scenario.max_grad_norm, books.replay, update.grad_norm
    if replay is None or update.index > replay.updates or norm is None:
        return 1.0
    before = replay.own.grad_norms[update.index - 1] or 0.0
    return (
        norm / before if before > limit and close(norm, limit, PROJECTED[books.scenario.precision]) else 1.0
    )


def _weight_finding(
    books: CellBooks, update: Update, expected: dict[int, float], row: int, got: float
) -> Finding:
    reduction = books.contract.reduction[books.scenario.loss_protocol]
    want = expected[row]
    places = [place for item in update.window for place in enumerate(item.shares) if row in place[1].rows]
    rank, share = places[0]
    own, size, accum = sum(share.label_tokens), len(update.window), books.scenario.grad_accum
    ranks = books.scenario.ranks
    symbol, number = ("·R", f"·{ranks}") if ranks > 1 else ("", "")
    formula = {
        Reduction.TOKEN_MEAN: f"1 / N = 1 / {update.label_tokens}"
        + (f" over {ranks} ranks" if symbol else ""),
        Reduction.TOKEN_MEAN_OF_RANKS: f"1 / (N_r·R) = 1 / ({rank_tokens(update, rank)}·{ranks})",
        Reduction.MEAN_OF_MEANS: f"1 / (n·W{symbol}) = 1 / ({own}·{size}{number})",
        Reduction.MEAN_OVER_ACCUM: f"1 / (n·A{symbol}) = 1 / ({own}·{accum}{number})",
    }[reduction] + (f", read {len(places)} times" if len(places) > 1 else "")
    return Finding(
        expected=f"{want:.6g} a label token",
        got=f"{got:.6g}, {got / want:.6g} times what it should be",
        formula=formula,
        event=update.event,
        update=update.index,
        text=f"in optimizer step {update.index} each label token of row {row} weighs {got:.6g} = {_as_divisor(got)}"
        + (_over_ranks(books, update, row, got) or _cause(books, update, expected)),
        value=round(got / want, 9),
        due=1.0,
        within=0.0 if books.scenario.model is ModelKind.TRACER else tolerance_of(books),
    )


def _cause(books: CellBooks, update: Update, expected: dict[int, float]) -> str:
    """Return what cosine and ratio of the gradient tell, on one rank."""
    got = unclipped_weights(books, update)
    if got is None or books.scenario.ranks > 1:
        return ""
    done = books.observed.done
    previous = done[update.index - 2] if update.index > 1 else None
    cause = cause_of(books.contract, books.scenario, update, previous, expected, got)
    return f"; {cause}" if cause else ""


def _over_ranks(books: CellBooks, update: Update, row: int, got: float) -> str:
    """Return what was done over ranks instead, where all weights of the update say it."""
    ranks, expected = books.scenario.ranks, _expected_weights(books, update)
    if ranks == 1:
        return ""
    factor = _clip_factor(books, update, expected)
    weights = {row: (update.weights or {}).get(row, 0.0) / factor for row in expected}
    if all(close(weights[row], want * ranks) for row, want in expected.items()):
        return f": summed over {ranks} ranks, not averaged"
    if all(close(weights[row], want / ranks) for row, want in expected.items()):
        return f": averaged over {ranks} ranks once too often"
    readers = {rank for item in update.window for rank, share in enumerate(item.shares) if row in share.rows}
    for rank in sorted(readers):
        own = rank_tokens(update, rank)
        if own and close(got, 1.0 / (own * ranks)):
            return f": 1 / ({own} label tokens of rank {rank} · {ranks} ranks), each rank divides by its own tokens"
    return ""


def _as_divisor(weight: float) -> str:
    return f"1 / {1 / weight:.6g}" if weight else "nothing"


def close(got: float, want: float, relative: float = RELATIVE) -> bool:
    """Whether a value is the due one to a share of that; nothing is close to an infinity or a NaN."""
    return math.isfinite(got) and math.isfinite(want) and abs(got - want) <= relative * abs(want)
