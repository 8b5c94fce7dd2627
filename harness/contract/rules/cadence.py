"""Rules about what is written along the way: `log`, `save`, `eval`, `tokens`."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Sequence

from ....scenarios import LossProtocol, ModelKind
from ...ledger import LogEntry, Update
from ..books import CellBooks, Finding, Findings, NotJudged
from ..contracts import LoggedLoss
from .weights import PROJECTED, clip_factor, unclipped_weights

__all__ = ["judge_eval", "judge_log", "judge_save", "judge_tokens"]

FLOAT32 = 1e-5
"""trainers sum the losses of an interval in float32 (rounding 6e-8 a term, some hundred terms at most)"""


def judge_log(books: CellBooks) -> Findings:
    """The log comes every logging_steps updates, and its loss, lr and grad norm are those that were used."""
    entries, every = books.claimed.log, books.scenario.logging_steps
    done = books.observed.optimizer_steps
    if entries is None:
        return NotJudged(reason="the trainer hands over no log")
    if not every:
        return NotJudged(reason="logging_steps = 0: no log was asked for")
    at = [entry.global_step for entry in entries if entry.loss is not None]
    if at and all(place is None for place in at):
        return NotJudged(reason="no log entry says at which step it was written")
    due = list(range(every, done + 1, every))
    with_last = due if done in due else [*due, done]
    if "logging_steps" not in books.claimed.unread and at not in (due, with_last):
        return [_cadence_finding("log", f"every {every} optimizer steps", at, due)]
    last = 0
    for entry in entries:
        if entry.global_step is None or entry.loss is None or not last < entry.global_step <= done:
            continue
        since = books.observed.done[last : entry.global_step]
        last = entry.global_step
        for found in (
            _loss(books, entry, since),
            _rate(books, entry, since[-1]),
            _norm(books, entry, since[-1]),
        ):
            if found is not None:
                return [found]
    return []


def judge_save(books: CellBooks) -> Findings:
    """Checkpoints come every save_steps updates, and one after the last update where the contract promises it."""
    return _judge_cadence(
        books,
        "checkpoint",
        books.scenario.save_steps,
        books.claimed.saved_at,
        at_end=books.contract.saves_at_end,
    )


def judge_eval(books: CellBooks) -> Findings:
    """Evaluations come every eval_steps updates, and one after the last update where the contract promises it.

    What was seen counts: a claimed evaluation without a forward over evaluation rows is none.
    """
    claimed, observed = books.claimed.evaluated_at, books.observed.evaluations
    return _judge_cadence(
        books,
        "evaluation",
        books.scenario.eval_steps,
        observed if observed or claimed is not None else None,
        at_end=books.contract.evaluates_at_end,
    )


def judge_tokens(books: CellBooks) -> Findings:
    """Claimed input tokens = tokens of the micro-batches that are not padding."""
    claimed, seen = books.claimed.input_tokens, books.observed.input_tokens
    if claimed is None:
        return NotJudged(reason="the trainer claims no number of tokens")
    if claimed == seen:
        return []
    return [
        Finding(
            expected=f"{seen} input tokens",
            got=f"{claimed} input tokens",
            formula=f"input tokens = positions that are not padding, over all micro-batches = {seen}",
            event=None,
            update=None,
            text=f"at the end the trainer claims {claimed} tokens",
        )
    ]


def _judge_cadence(
    books: CellBooks, what: str, every: int, at: Sequence[int] | None, *, at_end: bool
) -> Findings:
    if not every:
        return NotJudged(reason=f"no {what} was asked for")
    if at is None:
        return NotJudged(reason=f"the trainer makes no {what} that can be seen")
    done = books.observed.optimizer_steps
    due = list(range(every, done + 1, every))
    if at_end and done and done not in due:
        due.append(done)
    if list(at) == due:
        return []
    promise = f"every {every} optimizer steps" + (" and after the last" if at_end else "")
    return [_cadence_finding(what, promise, at, due)]


def _cadence_finding(what: str, promise: str, at: Sequence[int | None], due: Sequence[int]) -> Finding:
    parting = next(
        (k for k, (got, want) in enumerate(zip(at, due, strict=False)) if got != want), min(len(at), len(due))
    )
    got = at[parting] if parting < len(at) else None
    want = due[parting] if parting < len(due) else None
    return Finding(
        expected=f"{what} at {_listed(due)}",
        got=f"{what} at {_listed(at)}",
        formula=f"{what} {promise}: {_listed(due)}",
        event=None,
        update=want or got,
        text=f"{what} {parting + 1}: due at {want if want is not None else 'no further update'}, "
        f"{f'made at {got}' if got is not None else 'never made'}",
    )


def _loss(books: CellBooks, entry: LogEntry, since: Sequence[Update]) -> Finding | None:
    allowed: list[float] = []
    fed_by = [[_weighted_loss(books, update) for update in since]]
    if not books.ranks:
        fed_by.append([_scaled_loss(update) for update in since])
    elif books.contract.logged_loss is LoggedLoss.MEAN_OR_LAST:  # the rank that logs may log its own part
        own = books.ranks[0].account.done[since[0].index - 1 : since[-1].index]
        fed_by.append([_scaled_loss(update) for update in own])
    for fed in fed_by:
        known = [value for value in fed if value is not None]
        if len(known) < len(fed):
            continue
        tokens = [update.label_tokens for update in since]
        by_tokens = books.contract.logged_loss is LoggedLoss.TOKEN_MEAN_SINCE_LAST_LOG and any(tokens)
        allowed.append(
            sum(map(operator.mul, known, tokens)) / sum(tokens) if by_tokens else sum(known) / len(known)
        )
        if books.contract.logged_loss is LoggedLoss.MEAN_OR_LAST:
            allowed.append(known[-1])
    if entry.loss is None or not allowed:
        return None
    mean = allowed[0]
    slack = 0.5 * 10.0**-books.contract.logged_decimals if books.contract.logged_decimals is not None else 0.0
    if any(_near(entry.loss, value, slack) for value in allowed):
        return None
    return Finding(
        expected=f"logged loss {mean:.6g} at {entry.global_step}",
        got=f"logged loss {entry.loss:.6g}",
        formula=f"mean over {len(since)} update{'s' if len(since) > 1 else ''} of Σ weight·token loss = {mean:.6g}",
        event=None,
        update=entry.global_step,
        text=f"the log entry of optimizer step {entry.global_step} carries loss {entry.loss:.6g}",
    )


def _near(got: float, want: float, slack: float = 0.0) -> bool:
    """Whether a logged value is the true one in float32; nothing is near an infinity or a NaN."""
    return math.isfinite(want) and abs(got - want) <= FLOAT32 * abs(want) + slack


def _weighted_loss(books: CellBooks, update: Update) -> float | None:
    """The loss whose gradient the update used, by the books: every token loss with its weight.

    However the loop came to it: it may scale gradients instead of losses. Over ranks it is the loss of all of them.
    """
    weights = unclipped_weights(books, update)
    by_projection = books.scenario.model is not ModelKind.TRACER
    if weights is None or (by_projection and PROJECTED[books.scenario.precision] > FLOAT32):
        return None  # under autocast a weight by projection is not right enough to say a loss
    total = 0.0
    times = Counter(update.rows)
    for item in (share for micro_batch in update.window for share in micro_batch.shares):
        own = sum(item.label_tokens)
        of_rows = {weights.get(row, 0.0) / times[row] for row, tokens in item.row_tokens if tokens}
        if item.loss is None or not own or not math.isclose(min(of_rows), max(of_rows), rel_tol=FLOAT32):
            return None  # rows of one micro-batch that weigh differently: its loss alone does not say the sum
        honours = books.scenario.loss_protocol in (LossProtocol.HONOURED, LossProtocol.OVERRIDDEN)
        token_losses = item.loss * (item.divisor if honours and item.divisor else own)
        total += token_losses * sum(of_rows) / len(of_rows)
    return total


def _scaled_loss(update: Update) -> float | None:
    """The same by the loop: the sum of its micro-batches' losses, as scaled on their way back."""
    parts = [
        None if item.loss is None or item.scale is None else item.loss * item.scale for item in update.window
    ]
    known = [part for part in parts if part is not None]
    return sum(known) if parts and len(known) == len(parts) else None


def _rate(books: CellBooks, entry: LogEntry, update: Update) -> Finding | None:
    done, k = books.observed.done, update.index
    if entry.learning_rate is None:
        return None
    used = update.learning_rates[0]
    promised = used
    if not books.contract.logs_used_rate:
        if k >= len(done):
            return None  # the next update's rate, and there is none
        promised = done[k].learning_rates[0]
    if abs(entry.learning_rate - promised) <= FLOAT32 * books.scenario.learning_rate:
        return None
    return Finding(
        expected=f"logged lr {promised:.8g} at {k}",
        got=f"logged lr {entry.learning_rate:.8g}",
        formula=f"logged lr = lr of optimizer step {k if books.contract.logs_used_rate else k + 1}",
        event=update.event,
        update=k,
        text=f"optimizer step {k} used lr {used:.8g}, its log entry says {entry.learning_rate:.8g}",
    )


def _norm(books: CellBooks, entry: LogEntry, update: Update) -> Finding | None:
    before, limit = (
        (update.clip.total_norm if update.clip else update.grad_norm),
        books.scenario.max_grad_norm,
    )
    if entry.grad_norm is None or before is None:
        return None
    right = _near(entry.grad_norm, before)
    if update.clip is None and limit and entry.grad_norm > limit:
        # A loop that clips by its own code: the norm that was logged must be the one that gives what was seen.
        right = right or _near(before, entry.grad_norm * clip_factor(limit, entry.grad_norm))
    if right:
        return None
    return Finding(
        expected=f"logged grad norm {before:.6g} at {update.index}",
        got=f"logged grad norm {entry.grad_norm:.6g}",
        formula="logged grad norm = norm of the window's gradient before clipping",
        event=update.event,
        update=update.index,
        text=f"optimizer step {update.index} had a gradient of norm {before:.6g} before clipping",
    )


def _listed(values: Sequence[int | None], most: int = 8) -> str:
    if not values:
        return "never"
    text = ", ".join("?" if value is None else str(value) for value in values[:most])
    return text + (f", … {len(values)} in all" if len(values) > most else "")
