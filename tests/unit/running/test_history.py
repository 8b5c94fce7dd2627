"""The history: since when, since which commit and version; and a run never fails by it."""

from __future__ import annotations

import importlib.util
import sqlite3
import sys
from pathlib import Path

import pytest
from rich.console import Console
from stepaudit.harness.cli.history import remember
from stepaudit.harness.running.history import (
    KEPT_RUNS,
    cell_histories,
    history_path,
    read_history,
    record_run,
)
from stepaudit.reports.history import since_text, sparkline


def _hand_written():
    spec = importlib.util.spec_from_file_location(
        "hand_written_for_history", Path(__file__).parents[1] / "judging" / "hand_written.py"
    )
    module = sys.modules.setdefault(spec.name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


HAND = _hand_written()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "history.sqlite"


def add(path, number, *records, project="p", commit="c", dirty=False, torch="2.13.0"):
    verdict = HAND.judged(*records, started=f"2026-03-{number:02d}T00:00:00Z")
    environment = verdict.environment.model_copy(update={"packages": {"torch": torch}})
    verdict = verdict.model_copy(update={"environment": environment})
    record_run(path, verdict, project=project, commit=commit, dirty=dirty)
    return verdict


def target(path, project="p"):
    (found,) = [item for item in read_history(path, project=project) if item.rule == "target"]
    return found


def test_a_deviation_has_a_beginning(path):
    """The first run of the present row of deviations, and what changed with it; the newest run counts."""
    add(path, 1, HAND.record(4), commit="a" * 40)
    add(path, 2, HAND.broken(), commit="b" * 40, torch="2.14.0")
    add(path, 3, HAND.broken(), commit="c" * 40, torch="2.14.0")
    found = target(path)
    assert found.since.started == "2026-03-02T00:00:00Z"
    assert since_text(found) == (
        "since 2026-03-02T00:00 (bbbbbbbbbbbb); changed: commit aaaaaaaaaaaa -> bbbbbbbbbbbb, torch 2.13.0 -> 2.14.0"
    )
    assert sparkline(found.points) == "▁██"


def test_a_mended_rule_has_none_and_a_second_fault_begins_anew(path):
    """The old one is over."""
    add(path, 1, HAND.broken())
    add(path, 2, HAND.record(4))
    assert target(path).since is None
    assert since_text(target(path)) == "conforms"
    add(path, 3, HAND.broken())
    assert target(path).since.started == "2026-03-03T00:00:00Z"


def test_what_always_deviated_says_so(path):
    """No beginning is made up."""
    add(path, 1, HAND.broken(), commit=None)
    assert since_text(target(path)) == "as long as there is history, 2026-03-01T00:00 (no commit)"


def test_runs_that_did_not_judge_a_rule_are_no_gap(path):
    """A run of another subject says nothing about this one."""
    add(path, 1, HAND.broken())
    add(path, 2, HAND.record(4, subject="other"))
    add(path, 3, HAND.broken())
    assert target_of(path, "loop").since.started == "2026-03-01T00:00:00Z"
    assert len(target_of(path, "loop").points) == 2


def target_of(path, subject):
    (found,) = [
        item for item in read_history(path, project="p") if (item.subject, item.rule) == (subject, "target")
    ]
    return found


def test_projects_are_apart(path):
    """Two projects may both have a `mine.py:train`."""
    add(path, 1, HAND.broken(), project="p")
    add(path, 2, HAND.record(4), project="q")
    assert target(path, "p").since is not None
    assert target(path, "q").since is None
    assert len(target(path, None).points) == 2


def test_a_cell_has_a_history_of_its_own(path):
    """By its scenario, not by its id, which changes with every version; cells that conform now are not listed."""
    add(path, 1, HAND.record(4, cell_id="x"), HAND.record(3, max_steps=3, cell_id="y"))
    add(path, 2, HAND.broken(cell_id="z"), HAND.record(3, max_steps=3, cell_id="w"))
    (cell,) = cell_histories(path, project="p", wanted=lambda scenario: True)
    assert (cell.scenario["max_steps"], cell.rules) == (4, ("target",))
    assert cell.since.started == "2026-03-02T00:00:00Z"
    assert cell_histories(path, project="p", wanted=lambda scenario: scenario["rows"] == 99) == ()


def test_crashes_are_no_history(path):
    """A cell without books neither deviates nor conforms."""
    add(path, 1, HAND.failed())
    assert read_history(path, project="p") == ()


def test_it_does_not_grow_for_ever(path, monkeypatch):
    """Old runs of the project are forgotten, with what belongs to them."""
    monkeypatch.setattr("stepaudit.harness.running.history.KEPT_RUNS", 3)
    assert KEPT_RUNS > 100
    add(path, 1, HAND.broken(), project="q")
    for number in range(1, 8):
        add(path, number, HAND.broken())
    assert len(target(path).points) == 3
    assert len(target(path, "q").points) == 1
    with sqlite3.connect(path) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM judged").fetchone()
    connection.close()
    assert rows == 4


def test_the_variable_says_where_and_empty_says_nowhere(monkeypatch, tmp_path):
    """Else the user's data directory."""
    monkeypatch.setenv("STEPAUDIT_HISTORY", str(tmp_path / "h"))
    assert history_path() == tmp_path / "h"
    monkeypatch.setenv("STEPAUDIT_HISTORY", "")
    assert history_path() is None
    monkeypatch.delenv("STEPAUDIT_HISTORY")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert history_path() == tmp_path / "stepaudit" / "history.sqlite"


def _foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE somebody (else_)")
    connection.close()


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("no database, but long enough to be looked at " * 40),
        lambda path: path.mkdir(),
        _foreign,
        lambda path: path.with_name("file").write_text(""),
    ],
    ids=["garbage", "a directory", "another program's", "fine"],
)
def test_whatever_is_there_a_run_goes_on(tmp_path, monkeypatch, capsys, make, request):
    """A warning with path and reason, and what is there stays as it is."""
    path = tmp_path / "history.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    monkeypatch.setenv("STEPAUDIT_HISTORY", str(path))
    monkeypatch.chdir(tmp_path)
    remember(HAND.judged(HAND.record(4)), Console(soft_wrap=True))
    printed = capsys.readouterr().out
    if request.node.callspec.id == "fine":
        assert printed == ""
        assert len(read_history(path, project=None)) > 3
        return
    assert printed.startswith(f"stepaudit: warning: the history {path} was not written: ")
    assert before is None or path.read_bytes() == before
