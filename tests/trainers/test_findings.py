"""docs/findings: every script still shows its fault, with the public API alone, on one page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FINDINGS = Path(__file__).parents[2] / "docs" / "findings"
SCRIPTS = sorted(path.name for path in FINDINGS.glob("*.py"))
SUBJECTS = {"hf": "hf", "lightning": "lightning", "fabric": "fabric"}
"""what the first word of a script's name needs laid over the base"""


def test_there_are_scripts():
    """An empty folder shows nothing."""
    assert len(SCRIPTS) >= 3


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_can_be_filed_upstream(name):
    """At most 30 lines, none of them ours, and a paragraph on the page that says what was promised."""
    text = (FINDINGS / name).read_text()
    assert len(text.splitlines()) <= 30
    assert "stepaudit" not in text
    assert f"**[{name}]({name})** · asked:" in (FINDINGS / "README.md").read_text()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SCRIPTS)
def test_it_still_shows_the_fault(name, laid_over, tmp_path):
    """It exits with 1, by its own count: not by an exception, which would say nothing of the trainer."""
    directory = laid_over(SUBJECTS[name.partition("_")[0]])
    path = os.pathsep.join(item for item in (str(directory or ""), os.environ.get("PYTHONPATH", "")) if item)
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", str(FINDINGS / name)],
        env=os.environ | {"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 1, done.stdout + done.stderr
