"""Which epoch a micro-batch belongs to: passes over the training data, and which of them training uses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["Passes"]


class Passes:
    """A pass is an iterator over the training data, with a number of its own.

    It becomes an epoch when a training forward uses rows that it fetched: a peek at a batch, or an evaluation on
    the training data, is none. Without a loader, or where a loop reuses what it fetched, an epoch ends when a row
    comes again.

    Attributes:
        idle: passes begun since training last used one.
    """

    def __init__(self) -> None:
        self.idle = 0
        self._begun = 0
        self._fetching: int | None = None
        self._ended: set[int] = set()
        self._epochs: dict[int, int] = {}
        self._waiting: dict[int, list[int]] = defaultdict(list)
        self._pass: int | None = None
        self._epoch = -1
        self._rows: set[int] = set()
        self._skipping: list[int] | None = None

    def begin(self) -> int:
        """Return the number of a new pass. What an earlier one fetched and training never used was a peek."""
        for row, waiting in self._waiting.items():
            self._waiting[row] = [number for number in waiting if number in self._epochs]
        number = self._begun
        self._begun += 1
        self.idle += 1
        return number

    def end(self, number: int) -> None:
        """The iterator of a pass has no more rows."""
        self._ended.add(number)

    @contextmanager
    def fetching(self, number: int) -> Iterator[None]:
        """Rows that leave the dataset inside the block belong to this pass, whatever others are under way."""
        before, self._fetching = self._fetching, number
        try:
            yield
        finally:
            self._fetching = before

    def fetched(self, rows: Sequence[int], number: int | None = None) -> int | None:
        """Note rows for a pass, by default the one that is fetching, and return its number."""
        number = self._fetching if number is None else number
        if number is not None:
            for row in rows:
                self._waiting[row].append(number)
        if self._skipping is not None:
            self._skipping += rows
        return number

    def evaluated(self, rows: Sequence[int]) -> None:
        """An evaluation forward used these rows, which were fetched last."""
        for row in rows:
            if waiting := self._waiting.get(row):
                waiting.pop()

    def resume(self, epoch: int) -> None:
        """Training goes on in a new process, from somewhere in this epoch.

        It may fetch rows that it has trained on before, to find its place: all before those of its first micro-batch.
        """
        self._waiting.clear()
        self._skipping = []
        self._pass, self._epoch, self._rows = None, epoch - 1, set()

    def epoch_named(self, number: int | None) -> int | None:
        """Return the epoch that a pass became, or None if training never used it."""
        return None if number is None else self._epochs.get(number)

    def epoch_of(self, rows: Sequence[int]) -> int:
        """Return the epoch of the next micro-batch.

        A row that a loop fetched and never used may wait from an earlier pass: the newest pass of the rows counts.
        """
        self.idle = 0
        if self._skipping is not None:
            self._forget_skipped(rows, self._skipping)
            self._skipping = None
        newest = max((number for row in rows if (number := self._take(row)) is not None), default=None)
        comes_again = newest is None and not self._rows.isdisjoint(rows)
        if newest is not None and newest not in self._epochs:
            self._begin_epoch(newest)
        elif not self._rows or (comes_again and (self._pass is None or self._pass in self._ended)):
            self._begin_epoch(self._pass)
        self._rows.update(rows)
        return self._epoch

    def _forget_skipped(self, rows: Sequence[int], skipping: list[int]) -> None:
        first = min((skipping.index(row) for row in rows if row in skipping), default=0)
        for row in skipping[:first]:
            if waiting := self._waiting.get(row):
                waiting.pop(0)

    def _take(self, row: int) -> int | None:
        """Return the pass that fetched a row: the current one if that is possible."""
        waiting = self._waiting.get(row)
        if not waiting:
            return None
        if self._pass in waiting:
            waiting.remove(self._pass)
            return self._pass
        return waiting.pop(0)

    def _begin_epoch(self, number: int | None) -> None:
        self._epoch += 1
        self._pass = number
        self._rows = set()
        if number is not None:
            self._epochs.setdefault(number, self._epoch)
