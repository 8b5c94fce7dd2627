"""Sweeps: everything that a subject can do costs one cell; everything that is stored is not run again."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from stepaudit.harness.ledger import Outcome
from stepaudit.harness.running.engine import run_sweep
from stepaudit.harness.running.events import (
    Agreement,
    CellFinished,
    CellRepeated,
    CellReused,
    CellStarted,
    RecordsDamaged,
    SweepFinished,
    SweepStarted,
    WaitingForOtherRun,
    WorkerLost,
    WorkerReady,
    WorkerRecycled,
    WorkerStarted,
)
from stepaudit.harness.running.plan import SweepOptions
from stepaudit.harness.running.pool import AHEAD
from stepaudit.harness.running.shard import Shard
from stepaudit.harness.running.store import RECORDS_NAME, Store, StoreError
from sweeps import FakeSubject, Recorder, options, plan

HERE = Path(__file__).parent


def sweep(store, *subjects, rows=range(1, 4), **changes):
    recorder = Recorder()
    finished = run_sweep(plan(*subjects, rows=rows), store, options(**changes), recorder)
    return finished, recorder


def only(store):
    (record,) = store.records()
    return record


@pytest.fixture
def trail(tmp_path, monkeypatch):
    """What really ran, told by the cells themselves."""
    path = tmp_path / "trail"
    path.touch()
    monkeypatch.setenv("FAKE_TRAIL", str(path))
    return lambda: Counter(line.split()[0] for line in path.read_text().splitlines())


# ---- what a subject can do to its worker

CRASHES = [
    ("segfault", "killed", "worker killed by SIGSEGV"),
    ("killed", "killed", "worker killed by SIGKILL"),
    ("os_exit", "exit", "worker exited with code 7"),
    ("sys_exit", "exit", "the subject called sys.exit(3)"),
    ("raises", "exception", "RuntimeError: line one"),
    ("hang", "timeout", "no result after 2 s"),
    ("hang_deaf", "timeout", "no result after 2 s"),
    ("memory", "memory", "MemoryError"),
    ("memory_mapped", "memory", "the worker held"),
    ("memory_caught", "memory", "can't allocate memory"),
    ("garbage", "protocol", "the worker's answer makes no sense"),
    ("wrong_cell", "protocol", "the record is of cell ffff"),
    ("closes", "exit", "worker exited with code 1"),
]


@pytest.mark.parametrize(("subject", "kind", "message"), CRASHES)
def test_one_wild_cell_costs_one_cell(store, subject, kind, message):
    """Whatever it does: its record says what, the other cells of the same workers complete."""
    finished, _ = sweep(
        store,
        FakeSubject(name=f"bad_sometimes:{subject}"),
        rows=range(1, 10),
        timeout_s=2.0,
        memory_limit=2**28,
    )
    assert (finished.completed, finished.errors) == (8, 1)
    (bad,) = [record for record in store.records() if record.outcome is Outcome.ERROR]
    assert bad.scenario.rows == 5
    assert bad.error.kind == kind
    assert message in bad.error.message
    assert "\n" not in bad.error.message


@pytest.mark.parametrize("subject", ["segfault", "hang"])
def test_last_words_are_kept(store, subject):
    """Where it was, and what it had printed, although the process is gone."""
    sweep(store, FakeSubject(name=subject), rows=[1], timeout_s=1.0)
    record = only(store)
    assert f"in {subject}" in record.error.traceback
    assert record.output in {"about to read address zero\n", "going to hang\n"}
    assert record.seconds < 3


def test_a_gigabyte_of_prints_costs_neither_memory_nor_text(store):
    """200 MB here: the record keeps head and tail and says how much is missing."""
    _, recorder = sweep(store, FakeSubject(name="printing:200"), rows=[1], timeout_s=60.0)
    assert recorder.of(WorkerRecycled) == []
    output = only(store).output
    assert output.startswith("the first line\nxxx")
    assert output.endswith("xxx\nthe last line\n")
    assert len(output) < 400_000
    assert f"{200 * 1024 * 1024 + 29 - 320 * 1024} bytes left out" in output


def test_all_that_was_printed_is_there_whoever_printed_it(store):
    """A child process and a bare descriptor as well as `print`, and nothing of the cell before."""
    sweep(store, FakeSubject(name="good"), FakeSubject(name="printing_children"), workers=1)
    texts = {record.subject: record.output for record in store.records()}
    assert texts["printing_children"] == "said by a child\nsaid to descriptor two\n"
    assert sorted(record.output for record in store.records() if record.subject == "good") == [
        "rows 1\n",
        "rows 2\n",
        "rows 3\n",
    ]


def test_a_subject_that_takes_the_streams_does_not_keep_them(store):
    sweep(store, FakeSubject(name="takes_streams"), FakeSubject(name="good"), workers=1)
    assert {record.output for record in store.records() if record.subject == "good"} >= {
        "rows 1\n",
        "rows 3\n",
    }
    assert {record.output for record in store.records() if record.subject == "takes_streams"} == {"before\n"}


@pytest.mark.parametrize("subject", ["forks", "leaves_thread"])
def test_what_a_subject_leaves_behind_does_not_outlive_the_sweep(store, subject):
    """A forked child that returns into the worker's loop answers nothing; a thread does not hold the worker."""
    finished, recorder = sweep(store, FakeSubject(name=subject))
    assert finished.completed == 3
    groups = {event.pid for event in recorder.of(WorkerStarted)}

    def left() -> list[int]:
        processes = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        return [pid for pid in processes if group_of(pid) in groups and is_running(pid)]

    wait_for(lambda: not left())  # a killed process is gone when the kernel has had the time for it


def test_workers_die_with_their_cell_and_nobody_else(store):
    """The request that was sent ahead to a dying worker goes back and is not blamed."""
    finished, recorder = sweep(store, FakeSubject(name="bad_sometimes:os_exit"), rows=range(1, 31), workers=1)
    assert (finished.completed, finished.errors) == (24, 6)
    lost = recorder.of(WorkerLost)
    assert len(lost) == 6
    errors = {record.cell_id for record in store.records() if record.outcome is Outcome.ERROR}
    assert {event.cell_id for event in lost} == errors


# ---- workers that cannot start


def test_an_import_error_is_every_cells_error_and_starts_no_storm(store):
    """One message, one or two processes, and the other groups run."""
    broken = FakeSubject(name="broken", imports=("no_such_module",), own_process=True)
    finished, recorder = sweep(store, broken, FakeSubject(), rows=range(1, 41))
    assert (finished.completed, finished.errors) == (40, 40)
    assert sum(event.group == "base broken" for event in recorder.of(WorkerStarted)) <= 2
    error = next(record.error for record in store.records() if record.error)
    assert (
        error.message
        == "worker base broken cannot start: ModuleNotFoundError: No module named 'no_such_module'"
    )
    assert "import_module" in error.traceback


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("import os; print('dying', flush=True); os._exit(9)", "exit", "worker exited with code 9"),
        ("import os; os.kill(os.getpid(), 11)", "killed", "worker killed by SIGSEGV"),
        ("import time; time.sleep(100)", "timeout", "not ready after 1 s"),
    ],
)
def test_a_start_that_crashes_is_tried_twice(store, tmp_path, monkeypatch, code, kind, message):
    (tmp_path / "deadly.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]]))
    _, recorder = sweep(
        store, FakeSubject(imports=("deadly",)), rows=range(1, 30), workers=1, start_timeout_s=1.0
    )
    assert len(recorder.of(WorkerStarted)) == 2
    errors = {record.error for record in store.records()}
    assert {error.kind for error in errors} == {kind}
    assert all(message in error.message for error in errors)
    if kind == "exit":
        assert {error.traceback for error in errors} == {"dying"}


def test_subjects_that_patch_share_a_worker_with_nobody(store):
    """Neither with others nor with each other."""
    finished, recorder = sweep(
        store,
        FakeSubject(name="good"),
        FakeSubject(name="slow:0", own_process=True),
        FakeSubject(name="slow:0.0", own_process=True),
        FakeSubject(name="printing_children"),
    )
    assert finished.completed == 12
    workers = {}
    for event in recorder.of(CellStarted):
        workers.setdefault(event.pid, set()).add(event.subject)
    shared = {"good", "printing_children"}
    assert all(subjects <= shared or len(subjects) == 1 for subjects in workers.values())


def test_few_cells_start_few_workers(store):
    """A start costs seconds: three cells do not need four workers."""
    _, recorder = sweep(store, FakeSubject(), workers=4)
    assert len(recorder.of(WorkerStarted)) == 1


def test_a_grown_worker_is_replaced_between_cells(store):
    """No cell is lost by it."""
    finished, recorder = sweep(
        store, FakeSubject(name="slow:0.15"), rows=range(1, 8), workers=1, growth_limit=1
    )
    assert finished.completed == 7
    assert recorder.of(WorkerRecycled)
    assert recorder.of(WorkerLost) == []


# ---- what is stored is not run again


def test_the_same_sweep_again_runs_nothing(store, trail):
    sweep(store, FakeSubject())
    finished, recorder = sweep(store, FakeSubject())
    assert (finished.completed, finished.reused) == (0, 3)
    assert len(recorder.of(CellReused)) == 3
    assert recorder.of(WorkerStarted) == []
    assert set(trail().values()) == {1}


def test_a_larger_sweep_runs_only_what_is_missing(store, trail):
    sweep(store, FakeSubject(), rows=range(1, 4))
    finished, _ = sweep(store, FakeSubject(), rows=range(1, 7))
    assert (finished.completed, finished.reused) == (3, 3)
    assert set(trail().values()) == {1}


def test_an_error_is_run_again(store, trail):
    """And a sweep that cures it keeps the result."""
    sweep(store, FakeSubject(name="raises"))
    finished, _ = sweep(store, FakeSubject(name="raises"))
    assert (finished.errors, finished.reused) == (3, 0)
    assert set(trail().values()) == {2}


def test_another_source_or_version_is_another_cell(store):
    sweep(store, FakeSubject(fingerprint="a"))
    finished, _ = sweep(store, FakeSubject(fingerprint="b"))
    assert finished.completed == 3
    finished, _ = sweep(store, FakeSubject(fingerprint="b", packages=("pytest",)))
    assert finished.completed == 3
    assert {tuple(record.versions) for record in store.records()} == {("source",), ("pytest", "source")}


def test_a_double_in_the_plan_is_one_cell(store, trail):
    finished, recorder = sweep(store, FakeSubject(), rows=[1, 1, 2])
    assert finished.completed == 2
    assert recorder.of(SweepStarted)[0].cells == 2
    assert set(trail().values()) == {1}


def test_a_damaged_record_is_reported_and_run_again(store, trail):
    sweep(store, FakeSubject())
    with sqlite3.connect(store.path) as connection:
        (cell,) = connection.execute(
            "UPDATE records SET seconds = 9 WHERE rowid = 1 RETURNING cell_id"
        ).fetchone()
    connection.close()
    finished, recorder = sweep(store, FakeSubject())
    assert (finished.completed, finished.reused) == (1, 2)
    assert recorder.of(RecordsDamaged)[0].cell_ids == (cell,)
    assert trail()[cell] == 2
    assert len(list(store.records())) == 3


def test_unsupported_cells_are_recorded_without_a_worker(store):
    subject = FakeSubject(refuses=lambda scenario: "too few rows" if scenario.rows < 3 else None)
    finished, _ = sweep(store, subject)
    assert (finished.completed, finished.unsupported) == (1, 2)
    reasons = {record.scenario.rows: record.reason for record in store.records()}
    assert reasons == {1: "too few rows", 2: "too few rows", 3: ""}
    assert sweep(store, subject)[0].reused == 3


def test_a_question_that_raises_is_the_cells_error(store):
    finished, _ = sweep(store, FakeSubject(refuses=lambda scenario: 1 / 0), FakeSubject(name="slow:0"))
    assert (finished.completed, finished.errors) == (3, 3)
    assert "supports() raised ZeroDivisionError" in next(r.error.message for r in store.records() if r.error)


def test_shards_together_run_everything_once(store, trail):
    counts = [
        sweep(store, FakeSubject(), rows=range(1, 21), shard=Shard(index=i, count=3))[0] for i in (1, 2, 3)
    ]
    assert sum(finished.completed for finished in counts) == 20
    assert all(finished.completed for finished in counts)
    assert set(trail().values()) == {1}
    assert sweep(store, FakeSubject(), rows=range(1, 21))[0].reused == 20


# ---- repeats in a fresh process


def test_repeats_agree_where_the_process_does_not_matter(store):
    finished, recorder = sweep(store, FakeSubject(), fresh_fraction=1.0)
    assert (finished.repeated, finished.differing) == (3, 0)
    assert {event.agreement for event in recorder.of(CellRepeated)} == {Agreement.SAME}
    assert len(list(store.repeats())) == 3
    assert sweep(store, FakeSubject(), fresh_fraction=1.0)[0].repeated == 0


def test_a_repeat_that_differs_is_told_kept_and_not_tried_again(store):
    """Every one of them ran in a process that had run nothing before."""
    subject = FakeSubject(name="process_id")
    finished, _ = sweep(store, subject, fresh_fraction=1.0)
    assert (finished.repeated, finished.differing) == (3, 3)
    processes = [repeat.events[0].weights[0] for repeat in store.repeats()]
    assert len(set(processes)) == 3
    assert len(list(store.records())) == 3
    assert sweep(store, subject, fresh_fraction=1.0)[0].repeated == 0
    assert len(list(store.repeats())) == 3


@pytest.mark.parametrize("ending", ["segfault", "os_exit", "hang"])
def test_a_repeat_that_crashes_is_an_error_of_the_repeat(store, ending):
    """It dies as a warm worker would, and the result stays."""
    subject = FakeSubject(name=f"second_time:{ending}")
    finished, recorder = sweep(store, subject, rows=[1], fresh_fraction=1.0, timeout_s=6.0)
    assert (finished.completed, finished.errors, finished.repeated, finished.differing) == (1, 0, 1, 0)
    (event,) = recorder.of(CellRepeated)
    assert event.agreement is Agreement.ERROR
    assert only(store).outcome is Outcome.COMPLETED
    (repeat,) = store.repeats()
    assert f"in {ending}" in repeat.error.traceback or ending == "os_exit"


# ---- being killed, interrupted, or out of disk


def start(store_path, subject, cells):
    process = subprocess.Popen(
        [sys.executable, "-P", str(HERE / "sweep_process.py"), str(store_path), subject, str(cells)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ["PYTHONPATH"]])},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "open\n"
    return process


def wait_for(condition, seconds=20.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def workers_of(pid):
    listed = "".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(child) for child in listed.split()]


def group_of(pid):
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def test_a_killed_runner_takes_its_workers_along_and_loses_nothing(tmp_path, trail):
    """The same command again completes the sweep: what was stored is reused, only what was on its way runs twice."""
    path = tmp_path / RECORDS_NAME
    runner = start(path, "slow:0.05", 60)
    wait_for(lambda: sum(trail().values()) >= 20)
    workers = workers_of(runner.pid)
    assert len(workers) == 2
    runner.kill()
    runner.wait()
    runner.stdout.close()
    wait_for(lambda: not any(is_running(pid) for pid in workers))
    with Store(path) as store:
        before = {record.cell_id: record for record in store.records()}
        assert len(before) >= 16
        finished, _ = sweep(store, FakeSubject(name="slow:0.05"), rows=range(1, 61))
        assert finished.reused == len(before)
        assert finished.completed == 60 - len(before)
        after = {record.cell_id: record for record in store.records()}
    assert len(after) == 60
    assert before.items() <= after.items()
    counts = trail()
    assert {counts[cell] for cell in before} == {1}
    assert sum(counts.values()) <= 60 + AHEAD * len(workers)


def test_a_worker_killed_from_outside_costs_the_cell_that_it_ran(store, trail):
    """Nothing else is lost, and the same sweep again runs that one cell."""
    killed = []

    class Killer(Recorder):
        def __call__(self, event):
            super().__call__(event)
            if type(event) is CellFinished and len(self.of(CellFinished)) == 10 and not killed:
                killed.append(self.of(CellStarted)[-1])
                os.kill(killed[0].pid, signal.SIGKILL)

    finished = run_sweep(plan(FakeSubject(name="slow:0.02"), rows=range(1, 31)), store, options(), Killer())
    assert (finished.completed, finished.errors) == (29, 1)
    (lost,) = [record for record in store.records() if record.error]
    assert lost.error.message == "worker killed by SIGKILL"
    finished, _ = sweep(store, FakeSubject(name="slow:0.02"), rows=range(1, 31))
    assert (finished.completed, finished.errors, finished.reused) == (1, 0, 29)
    assert max(trail().values()) <= 2


def test_ctrl_c_stops_cleanly(tmp_path, trail):
    """Workers are gone when it returns, every stored record is valid, nothing is leased."""
    path = tmp_path / RECORDS_NAME
    runner = start(path, "slow:0.05", 600)
    wait_for(lambda: sum(trail().values()) >= 10)
    workers = workers_of(runner.pid)
    runner.send_signal(signal.SIGINT)
    assert runner.wait(10) == 130
    runner.stdout.close()
    assert not any(is_running(pid) for pid in workers)
    with Store(path) as store:
        kept = list(store.records())
        assert 6 <= len(kept) < 600
        assert {record.outcome for record in kept} == {Outcome.COMPLETED}
        finished, _ = sweep(store, FakeSubject(name="slow:0.05"), rows=range(1, 61))
        assert finished.reused == len(kept)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM leases").fetchone() == (0,)
    connection.close()


def test_an_interrupted_sweep_still_says_what_it_did(store):
    """The last event comes before KeyboardInterrupt leaves."""

    class Impatient(Recorder):
        def __call__(self, event):
            super().__call__(event)
            if type(event) is CellFinished and len(self.of(CellFinished)) == 5:
                raise KeyboardInterrupt

    recorder = Impatient()
    with pytest.raises(KeyboardInterrupt):
        run_sweep(plan(FakeSubject(), rows=range(1, 31)), store, options(), recorder)
    assert recorder.events[-1].interrupted
    assert recorder.events[-1].completed == 5
    assert store.count() == 5


def test_two_runs_at_once_share_the_work(tmp_path, trail):
    """Every cell runs once, and both end with all of them."""
    path = tmp_path / RECORDS_NAME
    other = start(path, "slow:0.03", 60)
    wait_for(lambda: sum(trail().values()) >= 4)
    with Store(path) as store:
        finished, recorder = sweep(store, FakeSubject(name="slow:0.03"), rows=range(1, 61))
        assert other.wait(20) == 0
        other.stdout.close()
        assert finished.completed + finished.reused == 60
        assert finished.completed > 0
        assert store.count() == 60
    assert set(trail().values()) == {1}
    assert recorder.of(SweepFinished)


def test_the_cells_of_a_run_that_dies_meanwhile_are_taken_over(tmp_path, trail):
    """The one that waits for them notices."""
    path = tmp_path / RECORDS_NAME
    other = start(path, "slow:2", 2)
    wait_for(trail)

    class Killer(Recorder):
        def __call__(self, event):
            super().__call__(event)
            if type(event) is WaitingForOtherRun:
                other.kill()
                other.wait()

    with Store(path) as store:
        recorder = Killer()
        finished = run_sweep(plan(FakeSubject(name="slow:2"), rows=[1, 2]), store, options(), recorder)
    other.stdout.close()
    assert recorder.of(WaitingForOtherRun)
    assert finished.completed == 2


def test_a_full_disk_ends_the_sweep_with_one_error_and_keeps_what_was_stored(store):
    """The workers are gone, the records valid; with room again, the same sweep completes."""
    store._connection.execute("PRAGMA max_page_count = 1")
    recorder = Recorder()
    with pytest.raises(StoreError, match="full; what was committed is intact"):
        run_sweep(plan(FakeSubject(), rows=range(1, 2000)), store, options(), recorder)
    for event in recorder.of(WorkerStarted):
        assert not is_running(event.pid)
    kept = store.count()
    assert len(list(store.records())) == kept
    store._connection.execute("PRAGMA max_page_count = 1000000")
    finished, _ = sweep(store, FakeSubject(), rows=range(1, 40))
    assert finished.completed + finished.reused == 39


# ---- events and options


def test_events_tell_the_whole_story_in_order(store):
    _, recorder = sweep(store, FakeSubject(), workers=1)
    kinds = [type(event) for event in recorder.events]
    assert kinds[:3] == [SweepStarted, WorkerStarted, WorkerReady]
    assert kinds[-1] is SweepFinished
    started = [event.cell_id for event in recorder.of(CellStarted)]
    assert started == [event.cell_id for event in recorder.of(CellFinished)]
    assert recorder.of(CellFinished)[0].packed.record() == store.get(started[0])


def test_a_cell_is_stored_before_it_is_told(store):
    """A handler that looks into the store finds it."""
    seen = []

    def handler(event):
        if type(event) is CellFinished:
            seen.append(store.get(event.cell_id) is not None)

    run_sweep(plan(FakeSubject()), store, options(), handler)
    assert seen == [True] * 3


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("workers", 0),
        ("timeout_s", -1),
        ("timeout_s", float("nan")),
        ("memory_limit", -1),
        ("fresh_fraction", 1.5),
    ],
)
def test_an_option_that_makes_no_sense_shows_its_value(option, value):
    with pytest.raises(ValueError, match=option) as error:
        SweepOptions(**{option: value})
    assert str(value) in str(error.value)


def test_scratch_is_removed_after_a_killed_run(worker_path, tmp_path, trail):
    """By the next run; that of a live run is left alone."""
    runner = start(tmp_path / RECORDS_NAME, "slow:5", 2)
    wait_for(trail)
    left = list(worker_path.glob("stepaudit-*"))
    assert len(left) == 1
    with Store(tmp_path / "other.sqlite") as store:
        sweep(store, FakeSubject(name="slow:0"))
        assert left[0].exists()
        runner.kill()
        runner.wait()
        runner.stdout.close()
        sweep(store, FakeSubject(name="slow:0.0"))
        assert not left[0].exists()
