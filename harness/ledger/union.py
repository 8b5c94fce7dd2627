"""A run on several ranks: the ledgers of the others beside rank 0's, and the account of all ranks together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .account import Account, MicroBatch
from .claims import Claims
from .events import Event

__all__ = ["RankLedger", "union_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RankLedger:
    """What one rank beside rank 0 did and said.

    Attributes:
        rank: its number, from 1.
        events, claims: as those of a cell record, which are rank 0's.
        parameter_distance: the largest difference of one of its final parameters from rank 0's; infinite where they
            have not as many.
    """

    rank: int
    events: tuple[Event, ...]
    claims: Claims
    parameter_distance: float


def union_of(accounts: Sequence[Account]) -> Account:
    """Return what all ranks did together.

    Update k of the union is update k of every rank. Its window is rounds: the j-th micro-batch of the window on every
    rank, side by side, as one. Tokens and rows are sums over ranks. What belongs to the optimizer (updates, rates,
    gradient, schedule) and to the log is rank 0's, and positions are those in rank 0's ledger: whether the others
    agree is a question of its own.

    Args:
        accounts: one a rank, in their order.
    """
    first = accounts[0]
    updates = tuple(
        replace(
            update,
            window=_rounds([other.updates[at].window for other in accounts if at < len(other.updates)]),
        )
        for at, update in enumerate(first.updates)
    )
    return replace(
        first,
        rows_fetched=sum(account.rows_fetched for account in accounts),
        label_tokens=sum(account.label_tokens for account in accounts),
        input_tokens=sum(account.input_tokens for account in accounts),
        unstepped=_rounds([account.unstepped for account in accounts]),
        updates=updates,
        stopped=any(account.stopped for account in accounts),
    )


def _rounds(windows: Sequence[Sequence[MicroBatch]]) -> tuple[MicroBatch, ...]:
    return tuple(
        _side_by_side([item for item in items if item is not None])
        for items in itertools.zip_longest(*windows)
    )


def _side_by_side(parts: Sequence[MicroBatch]) -> MicroBatch:
    return replace(
        parts[0],
        rows=tuple(row for part in parts for row in part.rows),
        label_tokens=tuple(count for part in parts for count in part.label_tokens),
        input_tokens=sum(part.input_tokens for part in parts),
        parts=tuple(parts),
    )
