"""The same command again, `check`, `report`, `replay`: what is stored is used, what is missing or damaged runs."""

from __future__ import annotations

import resource
import shutil
import sqlite3

import pytest

ROOM = 350_000
"""bytes that a file may have: enough for a worker's shared memory, too little for the records of the sweep below"""
AXES = ("--subject", "plain", "--axis", "rows=3,4,5", "--no-reference")


@pytest.fixture
def sweep(stepaudit, recorded):
    """A shell with a copy of a finished sweep of three cells."""
    shutil.copytree(recorded.folder / "stepaudit-out", stepaudit.folder / "stepaudit-out")
    return stepaudit


@pytest.fixture(scope="module")
def recorded(stepaudit_in, quick):
    shell = stepaudit_in("recorded")
    done = shell("run", *AXES, *quick)
    assert done.code == 0, done.out + done.err
    return shell


def _edit(shell, statement, *values):
    with sqlite3.connect(shell.folder / "stepaudit-out" / "records.sqlite") as connection:
        connection.execute(statement, values)
    connection.close()


def _counts(shell):
    counts = shell.verdict()["counts"]
    return counts["executed"], counts["from_store"]


def test_the_same_command_again_runs_nothing(sweep, quick):
    """All three cells come from the store."""
    assert sweep("run", *AXES, *quick).code == 0
    assert _counts(sweep) == (0, 3)


def test_a_larger_sweep_runs_what_is_missing(sweep, quick):
    """One more value of an axis is one more cell."""
    done = sweep("run", "--subject", "plain", "--axis", "rows=3,4,5,6", "--no-reference", *quick)
    assert done.code == 0, done.err
    assert _counts(sweep) == (1, 3)


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE records SET outcome = 'unsupported' WHERE rowid = (SELECT min(rowid) FROM records)",
        "UPDATE records SET payload = substr(payload, 1, 40) WHERE rowid = (SELECT min(rowid) FROM records)",
        "UPDATE records SET checksum = x'00' WHERE rowid = (SELECT min(rowid) FROM records)",
    ],
    ids=["edited by hand", "truncated", "checksum"],
)
def test_a_damaged_record_is_found_and_runs_again(sweep, quick, edit):
    """Its checksum tells; the others are used as they are."""
    _edit(sweep, edit)
    done = sweep("check")
    assert done.code == 2
    assert "checksum" in done.error
    assert sweep("run", *AXES, *quick).code == 0
    assert _counts(sweep) == (1, 2)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ("PRAGMA user_version = 99001", "another version's records (99.1"),
        ("PRAGMA application_id = 7", "a database of another program"),
    ],
)
def test_records_of_others_are_left_alone(sweep, quick, edit, says):
    """Another version's directory and a foreign database are refused, not written into."""
    _edit(sweep, edit)
    path = sweep.folder / "stepaudit-out" / "records.sqlite"
    before = path.read_bytes()
    for command in (("run", *AXES, *quick), ("check",), ("report",)):
        done = sweep(*command)
        assert done.code == 2
        assert says in done.error
    assert path.read_bytes() == before


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_truncated_store_is_told_or_made_anew(sweep, quick, size):
    """An empty file is a new store; half a database is damaged and says so in one line."""
    path = sweep.folder / "stepaudit-out" / "records.sqlite"
    with path.open("r+b") as file:
        file.truncate(size)
    done = sweep("run", *AXES, *quick)
    if size:
        assert done.code == 2
        assert "records.sqlite" in done.error
    else:
        assert done.code == 0
        assert _counts(sweep) == (3, 0)


def test_a_full_disk_keeps_what_was_committed(stepaudit, quick):
    """The sweep ends with one line that says what is full and what to do; with room again it goes on."""

    def no_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))

    rows = ",".join(map(str, range(3, 63)))
    command = ("run", "--subject", "plain", "--axis", f"rows={rows}", "--no-reference", *quick)
    done = stepaudit(*command, preexec_fn=no_room)
    assert done.code == 2
    assert "stepaudit: cannot write" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err
    assert stepaudit(*command).code == 0
    executed, reused = _counts(stepaudit)
    assert 0 < executed < executed + reused == 60


def test_check_judges_again(sweep):
    """With the known deviations of today, and the same exit code as the run."""
    before = sweep.verdict()
    (sweep.folder / "stepaudit-out" / "verdict.json").unlink()
    done = sweep("check")
    assert done.code == 0
    after = sweep.verdict()
    assert after["cells"] == before["cells"]
    assert after["clusters"] == before["clusters"]


def test_report_renders_again(sweep):
    """Every file that a run writes, from verdict and records."""
    folder = sweep.folder / "stepaudit-out"
    for name in ("report.html", "junit.xml", "summary.md", "cells.csv"):
        (folder / name).unlink()
    shutil.rmtree(folder / "figures")
    assert sweep("report").code == 0
    written = {path.name for path in folder.iterdir()}
    assert written >= {
        "report.html",
        "junit.xml",
        "summary.md",
        "cells.csv",
        "cells.parquet",
        "verdict.json",
        "figures",
    }


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 99}'])
def test_a_verdict_that_is_none_is_refused(sweep, text):
    """One line with the file's name."""
    (sweep.folder / "stepaudit-out" / "verdict.json").write_text(text)
    done = sweep("report")
    assert done.code == 2
    assert "verdict.json" in done.error


def test_replay_shows_the_books_of_one_cell(sweep):
    """The same ledger again, rule by rule, by the first letters of its id."""
    cell = sweep.verdict()["cells"][0]["id"]
    done = sweep("replay", cell[:12])
    assert done.code == 0, done.out + done.err
    assert "the same as in the record" in done.out
    assert "ok target" in done.out


@pytest.mark.parametrize(
    ("prefix", "says"), [("zz", "no cell has an id that begins with 'zz'"), ("", "3 cells have")]
)
def test_replay_wants_one_cell(sweep, prefix, says):
    """An id that fits none or several is a usage error."""
    done = sweep("replay", prefix)
    assert done.code == 2
    assert says in done.error
