"""Progress: sparse plain lines in a file, a bar on a terminal, trouble said but not without end."""

import io

from rich.console import Console
from stepaudit.harness.ledger import CellError, Outcome
from stepaudit.harness.running.events import (
    Agreement,
    CellFinished,
    CellRepeated,
    CellReused,
    EnvironmentPreparing,
    EnvironmentUnavailable,
    RecordsDamaged,
    SweepFinished,
    SweepStarted,
    WorkerLost,
)
from stepaudit.harness.running.packed import PackedRecord
from stepaudit.reports.progress import SweepProgress
from stepaudit.scenarios import Scenario

POINT = Scenario(max_steps=8)


def finished(outcome=Outcome.COMPLETED, message=""):
    packed = PackedRecord(
        cell_id="c", subject="hf", outcome=outcome, seconds=0.1, error_message=message, payload=b""
    )
    return CellFinished(cell_id="c", scenario=POINT, subject="hf", outcome=outcome, packed=packed)


def started(cells, **changes):
    return SweepStarted(
        **{"cells": cells, "elsewhere": 0, "declined": 0, "reused": 0, "workers": 2} | changes
    )


def ended(**changes):
    given = {"completed": 90, "errors": 0, "unsupported": 0, "reused": 10, "repeated": 2, "differing": 0}
    return SweepFinished(**given | {"seconds": 61.0, "interrupted": False} | changes)


def shown(events, *, terminal=False, seconds_an_event=0.0):
    file = io.StringIO()
    now = [0.0]

    def clock():
        now[0] += seconds_an_event
        return now[0]

    progress = SweepProgress(Console(file=file, width=100, force_terminal=terminal), clock=clock)
    progress.start()
    for event in events:
        progress.handle(event)
    progress.shutdown()
    progress.shutdown()
    return file.getvalue()


def test_a_fast_sweep_is_two_lines():
    """What takes no time needs no progress."""
    text = shown([started(100, reused=10), *[finished() for _ in range(90)], ended()])
    counts = "90 completed, 0 not judged, 0 unsupported, 10 from the store"
    assert text.splitlines() == [
        "Sweep: 100 cells on 2 workers, 10 already in the store",
        f"Sweep finished after 1 min 01 s: {counts}, 2 repeated, 0 of them differ",
    ]


def test_a_slow_sweep_says_at_most_nine_lines_more():
    """A CI log gets a line for each tenth, with what is left."""
    text = shown([started(1000), *[finished() for _ in range(1000)], ended()], seconds_an_event=1.0)
    assert len(text.splitlines()) == 11
    assert "500/1,000 cells, about 8 min 21 s left" in text


def test_what_is_left_does_not_count_the_start_of_the_workers():
    """A minute of imports before the first cell does not make every cell a minute long."""
    file = io.StringIO()
    now = [0.0]
    progress = SweepProgress(Console(file=file, width=100), clock=lambda: now[0])
    progress.start()
    progress.handle(started(100))
    now[0] = 60.0
    for _ in range(11):
        progress.handle(finished())
        now[0] += 2.0
    assert "10/100 cells, about 3 min 00 s left" in file.getvalue()


def test_trouble_is_said_ten_times():
    """Ten thousand errors do not fill the log; the summary has them."""
    events = [finished(Outcome.ERROR, "boom \x1b[31m\nsecond line") for _ in range(10_000)]
    text = shown([started(10_000), *events, ended(errors=10_000)])
    assert text.count("Not judged: hf, rows=16 B=2 A=1 max_steps=8: boom second line") == 10
    assert "More trouble like this" in text
    assert "\x1b" not in text


def test_what_else_is_said():
    """Environments, lost workers, damaged records and flaky cells are named."""
    packed = finished().packed
    text = shown(
        [
            started(3, elsewhere=4, declined=1, scrubbed={"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}),
            EnvironmentPreparing(name="zoo", requirements=("unsloth_zoo==2026.10.5",)),
            EnvironmentUnavailable(name="zoo", message="no such version"),
            RecordsDamaged(cell_ids=("a", "b")),
            WorkerLost(group="g", pid=7, cell_id="c", error=CellError(kind="killed", message="signal 9")),
            CellRepeated(
                cell_id="c", scenario=POINT, subject="hf", agreement=Agreement.DIFFERENT, packed=packed
            ),
            ended(interrupted=True),
        ]
    )
    for part in (
        "1 unsupported, 4 in other shards",
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS=4",
        "unsloth_zoo==2026.10.5",
        "no such version",
        "2 stored records failed the checksum",
        "Worker 7 was lost at cell c: killed: signal 9",
        "a repeat gave another ledger",
        "Sweep interrupted",
    ):
        assert part in text


def test_a_terminal_gets_a_bar():
    """The bar counts cells from the store too, and is gone at the end."""
    reused = CellReused(cell_id="c", scenario=POINT, subject="hf", outcome=Outcome.COMPLETED)
    text = shown([started(2, reused=1), reused, finished(), ended()], terminal=True)
    assert "2/2" in text
