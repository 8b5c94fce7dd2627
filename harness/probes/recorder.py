"""The recorder: the ledger while it is being written, and what it must remember to number passes and micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..ledger import (
    Backward,
    EpochBegan,
    Evaluated,
    Event,
    Fetched,
    Forward,
    GradsZeroed,
    Interrupted,
    LogEntry,
    Logged,
    OptimizerStep,
    Saved,
    Stopped,
)
from .passes import Passes

__all__ = ["Interruption", "Recorder", "Runaway"]


class Interruption(BaseException):
    """Ends a run in the middle, as a kill would: no trainer's `except Exception` can hold it."""


class Runaway(BaseException):
    """Ends a run that trains without end; no trainer's `except Exception` can hold it."""


@dataclass(frozen=True, slots=True)
class _PassBegan:
    """Stands for an `EpochBegan` until it is known whether training uses the pass."""

    number: int


@dataclass(frozen=True, slots=True)
class _FetchedIn:
    """Stands for a `Fetched` in the same way."""

    rows: tuple[int, ...]
    number: int | None


class Recorder:
    """Appends events in the order in which torch makes them.

    Args:
        interrupt_after: optimizer steps after which a micro-batch raises `Interruption`, once: the next one, or
            the one after `interrupt_within` more, so that the window is open.
        budget: micro-batches, or passes without one, after which the run is stopped: a trainer that never
            ends is a finding, not a hang.
    """

    def __init__(
        self, budget: int | None = None, interrupt_after: int | None = None, interrupt_within: int = 0
    ) -> None:
        self._budget = budget
        self._interrupt_after = interrupt_after
        self._interrupt_within = interrupt_within
        self.events: list[Event | _PassBegan | _FetchedIn] = []
        self._passes = Passes()
        self._micro_batches = 0
        self._evaluating: set[int] = set()
        self.adopted: Any = None
        self.followers: list[Callable[[Any], None]] = []

    def adopt(self, dataset: Any) -> None:
        """The subject trains on a dataset that it, or its trainer, made of the training dataset."""
        self.adopted = dataset

    def adopt_model(self, model: Any) -> None:
        """The subject trains a model of its own making; the probes follow it."""
        for follow in self.followers:
            follow(model)

    @property
    def saw_update(self) -> bool:
        """Whether any optimizer was seen to step."""
        return any(isinstance(event, OptimizerStep) for event in self.events)

    def append(self, event: Event | _PassBegan | _FetchedIn) -> None:
        """Append an event; a pending evaluation pass ends before it."""
        self._end_evaluation()
        self.events.append(event)

    def began_pass(self) -> int:
        """A new iterator over the training data was made; return the number of its pass."""
        number = self._passes.begin()
        if self._budget is not None and self._passes.idle > self._budget + 1:
            self._stop()
        self.append(_PassBegan(number))
        return number

    def ended_pass(self, number: int) -> None:
        """The iterator has no more rows."""
        self._passes.end(number)

    @contextmanager
    def fetching(self, number: int) -> Iterator[None]:
        """Rows that leave the dataset inside the block belong to this pass."""
        with self._passes.fetching(number):
            yield

    def fetched(self, rows: Sequence[int], number: int | None = None) -> None:
        """Rows left the training dataset, for the given pass or the one that is fetching."""
        self.append(_FetchedIn(tuple(rows), self._passes.fetched(rows, number)))

    def forward(
        self,
        *,
        rows: tuple[int, ...],
        label_tokens: tuple[int, ...],
        input_tokens: int,
        divisor: float | None,
        loss: float | None,
    ) -> int:
        """Append a training forward and return the number of its micro-batch."""
        number = self._micro_batches
        if self._interrupt_after is not None and (past := self._updates() - self._interrupt_after) >= 0:
            if past or not self._interrupt_within:
                raise Interruption
            self._interrupt_within -= 1
        if self._budget is not None and number >= self._budget:
            self._stop()
        self._micro_batches += 1
        epoch = self._passes.epoch_of(rows)
        self.append(
            Forward(
                micro_batch=number,
                rows=rows,
                epoch=epoch,
                label_tokens=label_tokens,
                input_tokens=input_tokens,
                divisor=divisor,
                loss=loss,
            )
        )
        return number

    def evaluated(self, rows: Sequence[int]) -> None:
        """An evaluation forward saw these rows; a row seen again begins another evaluation pass."""
        self._passes.evaluated(rows)
        if self._evaluating.intersection(rows):
            self._end_evaluation()
        self._evaluating.update(rows)

    def window_rows(self) -> list[int]:
        """Return the rows whose gradient an update made now would use.

        Those of the backwards since the last update, the last zeroing, or a resumption with a new model.
        """
        rows: list[tuple[int, ...]] = []
        waiting: set[int] = set()
        is_open = True
        for event in reversed(self.events):
            if isinstance(event, (OptimizerStep, GradsZeroed, Interrupted)):
                is_open = False
            elif is_open and isinstance(event, Backward):
                waiting.add(event.micro_batch)
            elif isinstance(event, Forward) and event.micro_batch in waiting:
                waiting.remove(event.micro_batch)
                rows.append(event.rows)
            if not is_open and not waiting:
                break
        return [row for rows_of_one in reversed(rows) for row in rows_of_one]

    def interrupted(self, *, resumed_at: int, next_pass: int) -> None:
        """The run was interrupted and goes on from the checkpoint of update `resumed_at`, in pass `next_pass`."""
        self._interrupt_after = None
        self.append(Interrupted(resumed_at=resumed_at))
        self._passes.resume(next_pass)

    def logged(self, entry: LogEntry) -> None:
        """The trainer wrote a log entry: its claim, at this place of the ledger."""
        self.append(
            Logged(
                global_step=entry.global_step,
                epoch=entry.epoch,
                loss=entry.loss,
                learning_rate=entry.learning_rate,
                grad_norm=entry.grad_norm,
                input_tokens=entry.input_tokens,
            )
        )

    def saved(self, global_step: int) -> None:
        """The trainer wrote a checkpoint."""
        self.append(Saved(global_step=global_step))

    def close(self) -> tuple[Event, ...]:
        """End the ledger and return it."""
        self._end_evaluation()
        ledger: list[Event] = []
        for event in self.events:
            match event:
                case _PassBegan():
                    epoch = self._passes.epoch_named(event.number)
                    if epoch is not None:
                        ledger.append(EpochBegan(epoch=epoch))
                case _FetchedIn():
                    epoch = self._passes.epoch_named(event.number)
                    ledger.append(Fetched(rows=event.rows, epoch=-1 if epoch is None else epoch))
                case _:
                    ledger.append(event)
        return tuple(ledger)

    def _updates(self) -> int:
        return sum(isinstance(event, OptimizerStep) and not event.suppressed for event in self.events)

    def _stop(self) -> None:
        self.append(Stopped(micro_batches=self._micro_batches))
        raise Runaway

    def _end_evaluation(self) -> None:
        if self._evaluating:
            self.events.append(Evaluated(rows=len(self._evaluating)))
            self._evaluating = set()
