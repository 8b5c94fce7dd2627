"""Ranks as processes: started by torchrun's agent, named when they die, gone when their worker goes."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from stepaudit.harness.ledger import CellRecord, Claims, OptimizerStep, Outcome, Stopped
from stepaudit.harness.running.ranks import run_ranks
from stepaudit.harness.running.request import CellRequest
from stepaudit.scenarios import Scenario

PATIENT = 300.0


def request_of(ranks, timeout_s=PATIENT):
    """A cell on so many ranks."""
    return CellRequest(
        cell_id="cell",
        scenario=Scenario(ranks=ranks),
        subject="fake",
        contract="token-mean",
        versions={},
        device="cpu",
        timeout_s=timeout_s,
    )


def record_of(ranks=2, events=()):
    """What a rank leaves that did what it should."""
    rank = int(os.environ["RANK"])
    return CellRecord(
        cell_id="cell",
        scenario=Scenario(ranks=ranks),
        subject="fake",
        contract="token-mean",
        versions={},
        device="cpu",
        outcome=Outcome.COMPLETED,
        events=events or (_update(rank),),
        claims=Claims(global_step=rank),
    )


def _update(rank):
    return OptimizerStep(learning_rates=(0.1,), grad_norm=1.0, weights={rank: 1.0}, suppressed=False)


def running(marker):
    """Processes whose environment has the marker, without this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (process / "environ").read_bytes() and process.name != str(os.getpid()):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def descendants(pid):
    """Everything below a process."""
    found = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, listed.read_text().split()):
            found += [child, *descendants(child)]
    return found


def wait_for_all(together):
    """Meet the other ranks in an all-reduce, so that a rank that is missing is missed."""
    import torch
    import torch.distributed as dist

    if not dist.is_initialized():
        dist.init_process_group("gloo")
    tensor = torch.ones(1)
    dist.all_reduce(tensor)
    assert tensor.item() == together


@pytest.mark.parametrize("ranks", [2, 3])
def test_every_rank_has_a_ledger_of_its_own(tmp_path, ranks):
    """Rank 0's ledger and claims are the record's, the others' lie beside them; torchrun's variables are set."""

    def run_rank(directory):
        wait_for_all(ranks)
        names = ("LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")
        assert all(os.environ[name] for name in names)
        rank = int(os.environ["RANK"])
        return record_of(ranks), (1.0, 2.0 + rank / 4)

    record = run_ranks(request_of(ranks), tmp_path, run_rank)
    assert record.error is None
    assert record.events == (_update(0),)
    assert record.claims.global_step == 0
    assert [other.rank for other in record.others] == list(range(1, ranks))
    assert [other.events for other in record.others] == [(_update(rank),) for rank in range(1, ranks)]
    assert [other.claims.global_step for other in record.others] == list(range(1, ranks))
    assert [other.parameter_distance for other in record.others] == [rank / 4 for rank in range(1, ranks)]
    assert "RANK" not in os.environ


def raises():
    raise ValueError("no more rows")


DEATHS = {
    "exit": (lambda: os._exit(7), "exit", "rank 1 of 2 exited with code 7", ""),
    "segfault": (
        lambda: ctypes.string_at(0),
        "killed",
        "rank 1 of 2 was killed by SIGSEGV",
        "Segmentation fault",
    ),
    "kill": (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed", "rank 1 of 2 was killed by SIGKILL", ""),
    "exception": (raises, "exception", "rank 1 of 2: ValueError: no more rows", "in raises"),
    "sys.exit": (lambda: sys.exit(3), "exit", "rank 1 of 2: the subject called sys.exit(3)", "SystemExit"),
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_rank_that_dies_is_named(tmp_path, death):
    """The error is that of the rank that failed, with its traceback, and not of those that waited for it in vain."""
    die, kind, message, traceback = DEATHS[death]
    others = set(descendants(os.getpid()))

    def run_rank(directory):
        wait_for_all(2)
        if os.environ["RANK"] == "1":
            die()
        wait_for_all(2)
        return record_of(), ()

    record = run_ranks(request_of(2), tmp_path, run_rank)
    assert record.outcome is Outcome.ERROR
    assert (record.error.kind, record.error.message) == (kind, message)
    assert record.error.traceback.startswith("rank 1:")
    assert traceback in record.error.traceback
    assert set(descendants(os.getpid())) <= others


def test_a_rank_that_hangs_is_named(tmp_path):
    """Shortly before the cell's time is over every rank says where it is, and all are killed."""
    others = set(descendants(os.getpid()))

    def sleeps_for_ever():
        time.sleep(10_000)

    def run_rank(directory):
        wait_for_all(2)
        if os.environ["RANK"] == "1":
            sleeps_for_ever()
        wait_for_all(2)
        return record_of(), ()

    record = run_ranks(request_of(2, timeout_s=20.0), tmp_path, run_rank)
    assert record.error.kind == "timeout"
    assert "rank 1 is in sleeps_for_ever (test_ranks.py:" in record.error.message
    assert "rank 0 is in all_reduce" in record.error.message
    assert "sleeps_for_ever" in record.error.traceback
    assert set(descendants(os.getpid())) <= others


def test_a_run_that_the_audit_stopped_is_no_error(tmp_path):
    """A rank that is stopped takes the others with it; what was seen until then is judged."""

    def run_rank(directory):
        wait_for_all(2)
        if os.environ["RANK"] == "0":
            return record_of(events=(_update(0), Stopped(micro_batches=9))), ()
        wait_for_all(2)
        return record_of(), ()

    record = run_ranks(request_of(2), tmp_path, run_rank)
    assert record.outcome is Outcome.COMPLETED
    assert isinstance(record.events[-1], Stopped)


def test_the_ranks_go_with_their_worker(tmp_path):
    """`kill -9` of the worker leaves neither agent, guards nor ranks behind, whatever group they are in."""
    (tmp_path / "worker.py").write_text(
        textwrap.dedent(
            f"""
            import os, sys, time
            from pathlib import Path
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            from test_ranks import request_of
            from stepaudit.harness.running.ranks import run_ranks

            def run_rank(directory):
                Path({str(tmp_path)!r}, "began." + os.environ["RANK"]).touch()
                time.sleep(10_000)

            run_ranks(request_of(2), Path({str(tmp_path)!r}), run_rank)
            """
        )
    )
    marker = f"STEPAUDIT_TEST_MARK={tmp_path.name}-{os.getpid()}"
    name, _, value = marker.partition("=")
    worker = subprocess.Popen([sys.executable, "-P", tmp_path / "worker.py"], env=os.environ | {name: value})
    try:
        until = time.monotonic() + PATIENT
        while time.monotonic() < until and not all((tmp_path / f"began.{rank}").exists() for rank in (0, 1)):
            assert worker.poll() is None
            time.sleep(0.1)
        assert len(running(marker)) >= 4
    finally:
        worker.kill()
        worker.wait()
    until = time.monotonic() + PATIENT
    while time.monotonic() < until and running(marker):
        time.sleep(0.1)
    assert not running(marker)
