"""Progress of a sweep: a bar on a terminal, a plain line now and then in a file or a CI log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..harness.ledger import Outcome
from ..harness.running.events import (
    Agreement,
    CellFinished,
    CellRepeated,
    CellReused,
    EnvironmentPreparing,
    EnvironmentReady,
    EnvironmentUnavailable,
    RecordsDamaged,
    SweepEvent,
    SweepFinished,
    SweepStarted,
    WaitingForOtherRun,
    WorkerLost,
)
from .overview import duration
from .text import count, one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

__all__ = ["EventHandler", "SweepProgress"]

_MOST_TROUBLE_LINES = 10
_SECONDS_BETWEEN_LINES = 15.0


class EventHandler(Protocol):
    """What the engine's events are shown by; `handle` is called from the thread that runs the sweep."""

    def start(self) -> None:
        """Prepare, before the first event."""

    def handle(self, event: SweepEvent) -> None:
        """Show one event."""

    def shutdown(self) -> None:
        """Restore the terminal; is called also after an exception, and may be called twice."""


class SweepProgress:
    """Shows how far a sweep is.

    Args:
        console: a rich bar if it is a terminal; else a line at the start, at every tenth of the cells or
            every 15 seconds, whichever is later, and at the end.
        clock: seconds, monotonic.
    """

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._cells = self._done = self._errors = self._fresh = self._trouble = 0
        self._first = self._said_at = 0.0
        self._said_tenth = 0

    def start(self) -> None:
        """Begin: nothing is shown before the sweep has counted its cells."""
        self._said_at = self._clock()
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )

    def handle(self, event: SweepEvent) -> None:  # noqa: PLR0912 - one branch an event
        """Show one event; of what went wrong, the first ten lines, for the summary has them all."""
        match event:
            case SweepStarted():
                self._sweep_started(event)
            case EnvironmentPreparing():
                self._say(f"Making environment {event.name} ({', '.join(event.requirements)}) …")
            case EnvironmentReady():
                self._say(f"Environment {event.name} is ready")
            case EnvironmentUnavailable():
                self._warn(f"Environment {event.name} cannot be made: {event.message}")
            case RecordsDamaged():
                self._warn(
                    f"{count(len(event.cell_ids), 'stored record')} failed the checksum and will be run again"
                )
            case WorkerLost():
                at = f" at cell {event.cell_id}" if event.cell_id else ""
                self._warn(f"Worker {event.pid} was lost{at}: {event.error.kind}: {event.error.message}")
            case CellReused():
                self._advance()
            case CellFinished():
                if event.outcome is not Outcome.UNSUPPORTED:
                    self._fresh += 1
                    # Until the first one the workers were starting.
                    self._first = self._first if self._fresh > 1 else self._clock()
                self._errors += event.outcome is Outcome.ERROR
                if event.outcome is Outcome.ERROR:
                    self._warn(
                        f"Not judged: {event.subject}, {event.scenario.label}: {event.packed.error_message}"
                    )
                self._advance()
            case CellRepeated():
                if event.agreement is not Agreement.SAME:
                    self._warn(
                        f"Flaky: {event.subject}, {event.scenario.label}: a repeat gave another ledger"
                    )
            case WaitingForOtherRun():
                self._say(f"Waiting for {count(event.cells, 'cell')} that another run is at")
            case SweepFinished():
                self._sweep_finished(event)
            case _:
                pass

    def shutdown(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _sweep_started(self, event: SweepStarted) -> None:
        self._cells = event.cells
        parts = [f"{count(event.cells, 'cell')} on {count(event.workers, 'worker')}"]
        parts += [f"{event.reused:,} already in the store"] if event.reused else []
        parts += [f"{event.declined:,} unsupported"] if event.declined else []
        parts += [f"{event.elsewhere:,} in other shards"] if event.elsewhere else []
        self._say(f"Sweep: {', '.join(parts)}")
        if event.scrubbed:
            names = ", ".join(f"{name}={value}" for name, value in event.scrubbed.items())
            self._say(f"Kept from the workers, for it would change what they do: {names}")
        if self._bar is not None:
            self._task = self._bar.add_task("cells", total=event.cells)
            self._bar.start()

    def _sweep_finished(self, event: SweepFinished) -> None:
        self.shutdown()
        parts = [
            f"{event.completed:,} completed",
            f"{event.errors:,} not judged",
            f"{event.unsupported:,} unsupported",
        ]
        parts += [f"{event.reused:,} from the store"] if event.reused else []
        parts += (
            [f"{event.repeated:,} repeated, {event.differing:,} of them differ"] if event.repeated else []
        )
        word = "interrupted" if event.interrupted else "finished"
        self._say(f"Sweep {word} after {duration(event.seconds)}: {', '.join(parts)}")

    def _advance(self) -> None:
        self._done += 1
        if self._bar is not None and self._task is not None:
            words = f"cells, {self._errors:,} not judged" if self._errors else "cells"
            self._bar.update(self._task, completed=self._done, description=words)
            return
        tenth = 10 * self._done // max(self._cells, 1)
        now = self._clock()
        if (
            tenth > self._said_tenth
            and self._done < self._cells
            and now - self._said_at >= _SECONDS_BETWEEN_LINES
        ):
            self._said_tenth, self._said_at = tenth, now
            left = (now - self._first) / max(self._fresh - 1, 1) * (self._cells - self._done)
            trouble = f", {self._errors:,} not judged" if self._errors else ""
            self._say(f"{self._done:,}/{self._cells:,} cells{trouble}, about {duration(left)} left")

    def _warn(self, text: str) -> None:
        self._trouble += 1
        if self._trouble <= _MOST_TROUBLE_LINES:
            self._say(text, "yellow")
        elif self._trouble == _MOST_TROUBLE_LINES + 1:
            self._say("More trouble like this is counted and shown in the summary.", "yellow")

    def _say(self, text: str, style: str = "") -> None:
        line = one_line(text, 500)
        if self._console.options.ascii_only:
            line = line.encode("ascii", "backslashreplace").decode()
        self._console.print(Text(line, style), soft_wrap=True, highlight=False)
