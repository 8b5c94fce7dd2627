"""Writing the reports: all files, each whole, figures of an earlier run gone."""

import os
import subprocess
import sys

import pytest
from stepaudit.reports import write_reports
from stepaudit.reports.atomic import write_atomically


@pytest.fixture(scope="module")
def written(founding, tmp_path_factory, ledgers):
    out = tmp_path_factory.mktemp("run") / "new" / "folder"
    return out, write_reports(founding, ledgers.lookup_for(founding), out)


def test_all_files(written):
    """Every report is there, and nothing else: no temporary file is left."""
    out, result = written
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert found == {str(path.relative_to(out)) for path in result.paths}
    assert {"verdict.json", "junit.xml", "summary.md", "cells.csv", "cells.parquet", "report.html"} <= found
    assert {"figures/steps.svg", "figures/steps.png", "figures/matrix.svg", "figures/matrix.png"} <= found
    assert sum(name.startswith("figures/loss-") for name in found) == 2 * 5


def test_the_same_verdict_gives_the_same_files(written, founding, ledgers):
    """Rendering again changes no byte, so that `report` can be run at any time."""
    out, result = written
    before = {path: path.read_bytes() for path in result.paths}
    write_reports(founding, ledgers.lookup_for(founding), out)
    assert {path: path.read_bytes() for path in result.paths} == before


def test_figures_of_an_earlier_run_go(founding, verdicts, tmp_path, ledgers):
    """A figure that this verdict does not have is removed; a file of somebody else's stays."""
    write_reports(founding, ledgers.lookup_for(founding), tmp_path)
    (tmp_path / "figures" / "mine.svg").write_text("mine")
    write_reports(verdicts.passed_verdict(), lambda cell_id: None, tmp_path)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "matrix.svg",
        "matrix.png",
        "mine.svg",
    }


def test_without_records(founding, tmp_path):
    """A verdict whose ledgers are gone still has its reports."""
    write_reports(founding, lambda cell_id: None, tmp_path)
    assert "16 optimizer steps" in (tmp_path / "report.html").read_text()


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    """A full disk costs the new text, not the old."""
    path = tmp_path / "verdict.json"
    write_atomically(path, "old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_reports_need_no_torch():
    """`check` and `report` work where torch is not installed, and a run that reports nothing loads no matplotlib."""
    script = (
        "import sys; import stepaudit.reports, stepaudit.reports.progress;"
        "bad = {'torch', 'transformers', 'matplotlib', 'pandas'} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-P", "-c", script], check=True, env=environment, timeout=60)
