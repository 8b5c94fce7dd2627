"""Rule `ranks`: the rows are dealt out over the ranks, and all ranks make the same updates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ...ledger import MicroBatch, Update
from ..books import CellBooks, Finding, Findings, NotJudged, RankBooks
from ..padding import padding_due, padding_formula, padding_reads
from .weights import close

__all__ = ["judge_ranks"]

PARAMETER = 1e-9
"""Ranks that add the same gradients, in whatever order, differ by a few units of 2^-53; the smallest update of a run is
its rate times one gradient, some thousand times more."""


def judge_ranks(books: CellBooks) -> Findings:
    """Updates, windows, gradients, rates, claims and final parameters agree; no row goes to two ranks in an epoch."""
    if not books.ranks:
        return NotJudged(reason="one rank")
    for find in (_updates, _windows, _partition, _gradients, _rates, _claims, _parameters):
        finding = find(books)
        if finding is not None:
            return [finding]
    return []


def _updates(books: CellBooks) -> Finding | None:
    first, *others = books.ranks
    due = first.account.optimizer_steps
    for other in others:
        got = other.account.optimizer_steps
        if got != due:
            parting = min(got, due) + 1
            alone = first.account.done[got:]
            made, lacking = (0, other.rank) if alone else (other.rank, 0)
            return Finding(
                expected=f"{due} optimizer steps on every rank",
                got=f"{got} on rank {other.rank}",
                formula=f"optimizer steps of rank {other.rank} = those of rank 0 = {due}",
                event=alone[0].event if alone else None,
                update=parting,
                text=f"optimizer step {parting} is made on rank {made} and not on rank {lacking}",
                value=got,
                due=due,
            )
    return None


def _windows(books: CellBooks) -> Finding | None:
    for update, mine, other in _pairs(books):
        due, got = len(update.window), len(mine.window)
        if got != due:
            return Finding(
                expected=f"a window of {due} micro-batches on every rank in optimizer step {update.index}",
                got=f"{got} on rank {other.rank}",
                formula=f"window of rank {other.rank} = that of rank 0 = {due}",
                event=update.event,
                update=update.index,
                text=f"optimizer step {update.index} closed a window of {due} on rank 0, of {got} on rank {other.rank}",
                value=got,
                due=due,
            )
    return None


def _partition(books: CellBooks) -> Finding | None:
    rounds: dict[int, list[MicroBatch]] = defaultdict(list)
    for update in books.observed.updates:
        for micro_batch in update.window:
            rounds[micro_batch.epoch].append(micro_batch)
    readers: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for rank in books.ranks:
        for update in rank.account.updates:
            for micro_batch in update.window:
                for row in micro_batch.rows:
                    readers[micro_batch.epoch][row].append(rank.rank)
    for epoch, of_rows in sorted(readers.items()):
        padding = padding_reads(books, rounds[epoch])
        shared = {
            row: sorted(set(ranks))
            for row, ranks in of_rows.items()
            if len(set(ranks)) > 1 and len(ranks) - padding[row] > 1
        }
        if shared:
            due = padding_due(books.scenario, books.expected.terms, books.contract)
            row, ranks = next(iter(shared.items()))
            rows = f"{len(shared)} row{'s' if len(shared) > 1 else ''}"
            return Finding(
                expected="each row on one rank in an epoch"
                + (f", but for {due} reads of padding" if due else ""),
                got=f"{rows} on several ranks in epoch {epoch + 1}: row {row} on ranks {_listed(ranks)}",
                formula=f"reads of a row over all ranks = 1 an epoch; padding in the last round = "
                f"{padding_formula(books.scenario, books.expected.terms, books.contract) if due else 0}",
                event=next(
                    (item.event for item in _of_rank(books.ranks[0], epoch) if row in item.rows), None
                ),
                update=None,
                text=f"in epoch {epoch + 1} row {row} is trained on by ranks {_listed(ranks)}",
                value=len(shared),
                due=0,
            )
    return None


def _gradients(books: CellBooks) -> Finding | None:
    for update, mine, other in _pairs(books):
        due, got = update.weights, mine.weights
        if due is None or got is None:
            continue
        for row in dict.fromkeys((*due, *got)):
            here, there = due.get(row, 0.0), got.get(row, 0.0)
            if not close(there, here):
                return Finding(
                    expected=f"the same gradient on every rank in optimizer step {update.index}",
                    got=f"row {row} weighs {here:.6g} on rank 0 and {there:.6g} on rank {other.rank}",
                    formula=f"gradient at optimizer.step on rank {other.rank} = on rank 0 = average over the ranks",
                    event=update.event,
                    update=update.index,
                    text=f"what reaches optimizer step {update.index} differs between ranks: the gradients are not, or "
                    "not all, averaged over them",
                )
    return None


def _rates(books: CellBooks) -> Finding | None:
    for update, mine, other in _pairs(books):
        if mine.learning_rates != update.learning_rates:
            return Finding(
                expected=f"lr {_listed(update.learning_rates)} on every rank in optimizer step {update.index}",
                got=f"lr {_listed(mine.learning_rates)} on rank {other.rank}",
                formula=f"lr of rank {other.rank} = lr of rank 0",
                event=update.event,
                update=update.index,
                text=f"the schedules of rank 0 and rank {other.rank} part before optimizer step {update.index}",
            )
    return None


def _claims(books: CellBooks) -> Finding | None:
    for rank in books.ranks[1:]:  # rank 0's is the matter of rule `claim`
        claimed, done = rank.claimed.global_step, rank.account.optimizer_steps
        if claimed is not None and claimed != done:
            return Finding(
                expected=f"global_step = {done} on rank {rank.rank}",
                got=f"global_step = {claimed}",
                formula=f"global_step of rank {rank.rank} = its optimizer steps = {done}",
                event=None,
                update=None,
                text=f"at the end rank {rank.rank} says {claimed}, its optimizer stepped {done} times",
                value=claimed,
                due=done,
            )
    return None


def _parameters(books: CellBooks) -> Finding | None:
    for rank in books.ranks[1:]:
        if not rank.parameter_distance <= PARAMETER:
            return Finding(
                expected="the same final parameters on every rank",
                got=f"a parameter of rank {rank.rank} differs by {rank.parameter_distance:.3g} from rank 0's",
                formula=f"max |θ of rank {rank.rank} - θ of rank 0| ≤ {PARAMETER:g}",
                event=None,
                update=None,
                text="gradients and rates agree, the final parameters do not: the ranks began from different ones, or "
                "something else changed them",
                value=rank.parameter_distance,
                due=0.0,
            )
    return None


def _pairs(books: CellBooks) -> Iterator[tuple[Update, Update, RankBooks]]:
    """Yield update k of rank 0 with update k of every other rank; there are as many (`_updates`)."""
    first, *others = books.ranks
    for at, update in enumerate(first.account.done):
        for other in others:
            yield update, other.account.done[at], other


def _of_rank(rank: RankBooks, epoch: int) -> Iterator[MicroBatch]:
    return (item for update in rank.account.updates for item in update.window if item.epoch == epoch)


def _listed(values: tuple[float, ...] | list[int]) -> str:
    return ", ".join(f"{value:.8g}" for value in values)
