"""The fakes of this folder are importable here and in the workers, which know only PYTHONPATH."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.append(HERE)


@pytest.fixture(autouse=True)
def worker_path(monkeypatch, tmp_path):
    """Let workers import the fakes, and keep every scratch directory inside the test's own."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([HERE, os.environ.get("PYTHONPATH", "")]))
    scratch = tmp_path / "scratch-of-runs"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield scratch
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert list(scratch.glob(f"stepaudit-*-{os.getpid()}-*")) == [], (
        "a sweep left its scratch directory behind"
    )


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    from stepaudit.harness.running.store import RECORDS_NAME, Store

    with Store(tmp_path / RECORDS_NAME) as opened:
        yield opened
