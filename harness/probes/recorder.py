"""The recorder: the ledger while it is being written, and what it must remember to number passes and micro-batches."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence

from ..ledger import EpochBegan, Evaluated, Event, Fetched, Forward, LogEntry, Logged, OptimizerStep, Saved, Stopped

__all__ = ["Recorder", "Runaway"]


class Runaway(BaseException):
    """Ends a run that trains without end; no trainer's `except Exception` can hold it."""


class Recorder:
    """Appends events in the order in which torch makes them.

    Passes over the data are numbered from the iterators that were made over the training data. One that
    no forward used (a trainer that peeks at a batch) does not count. Without any loader, the k-th time that a
    row is seen is its k-th pass.

    Args:
        budget: micro-batches, or passes without one, after which the run is stopped; a trainer that never ends is a finding, not a hang.
    """

    def __init__(self, budget: int | None = None) -> None:
        self._budget = budget
        self.events: list[Event] = []
        self._epoch = -1
        self._epoch_used = True
        self._forward_epoch = 0
        self._empty_passes = 0
        self._fetched: dict[int, deque[int]] = defaultdict(deque)
        self._seen: Counter[int] = Counter()
        self._micro_batches = 0
        self._evaluating: set[int] = set()

    @property
    def saw_update(self) -> bool:
        """Whether any optimizer was seen to step."""
        return any(isinstance(event, OptimizerStep) for event in self.events)

    def append(self, event: Event) -> None:
        """Append an event; a pending evaluation pass ends before it."""
        self._end_evaluation()
        self.events.append(event)

    def began_pass(self) -> None:
        """A new iterator over the training data was made."""
        if not self._epoch_used:
            self._fetched.clear()
            self._empty_passes += 1
            if self._budget is not None and self._empty_passes > self._budget:
                self._stop()
            return
        self._empty_passes = 0
        self._epoch += 1
        self._epoch_used = False
        self.append(EpochBegan(epoch=self._epoch))

    def fetched(self, rows: Sequence[int]) -> None:
        """Rows left the training dataset."""
        if self._epoch >= 0:
            for row in rows:
                self._fetched[row].append(self._epoch)
        self.append(Fetched(rows=tuple(rows), epoch=max(self._epoch, 0)))

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
        if self._budget is not None and number >= self._budget:
            self._stop()
        self._micro_batches += 1
        epoch = self._pass_of(rows)
        self._epoch_used = True
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
        if self._evaluating.intersection(rows):
            self._end_evaluation()
        self._evaluating.update(rows)

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
        return tuple(self.events)

    def _stop(self) -> None:
        self.append(Stopped(micro_batches=self._micro_batches))
        raise Runaway

    def _pass_of(self, rows: Sequence[int]) -> int:
        """Return the pass from which a micro-batch's rows were fetched; micro-batches come in the order of passes.

        A row that a loop fetched and never used may wait from an earlier pass: the newest pass of the rows counts.
        """
        epochs = []
        for row in rows:
            queue = self._fetched.get(row)
            while queue and queue[0] < self._forward_epoch:
                queue.popleft()
            epochs.append(queue.popleft() if queue else self._seen[row])
            self._seen[row] += 1
        self._forward_epoch = max(epochs, default=self._forward_epoch)
        return self._forward_epoch

    def _end_evaluation(self) -> None:
        if self._evaluating:
            self.events.append(Evaluated(rows=len(self._evaluating)))
            self._evaluating = set()
