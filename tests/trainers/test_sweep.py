"""The command as a user runs it: trainers that are not installed come in environments of their own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SUBJECTS = ("trl-sft", "lightning", "fabric")


@pytest.mark.timeout(600)
def test_a_sweep_over_trainers_that_are_not_installed(tmp_path, laid_over):
    """No cell is an error, what deviates is known, and every subject is judged by the contract that it names."""
    for name in SUBJECTS:
        laid_over(name)
    chosen = [word for name in SUBJECTS for word in ("--subject", name)]
    command = [sys.executable, "-P", "-c", "from stepaudit.harness.cli import main; main()", "run"]
    done = subprocess.run(
        [*command, "--suite", "smoke", *chosen, "--no-reference", "--out", "out", "--timeout", "300"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads((tmp_path / "out" / "verdict.json").read_text())
    counts = {
        (name, outcome): sum(
            cell["subject"] == name and cell["verdict"] == outcome for cell in verdict["cells"]
        )
        for name in SUBJECTS
        for outcome in ("conforms", "deviates", "error", "unsupported")
    }
    for name in SUBJECTS:
        assert counts[name, "error"] == 0
        assert counts[name, "conforms"] >= 6, counts
    assert counts["trl-sft", "deviates"] == 1, "Trainer's short last window of an unsized dataset"
    contracts = {cell["subject"]: cell["contract"] for cell in verdict["cells"]}
    assert contracts == {"trl-sft": "trl-sft", "lightning": "lightning", "fabric": "fabric"}
