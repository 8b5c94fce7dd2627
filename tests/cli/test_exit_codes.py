"""Every exit code, by the real command (DESIGN, section 7). Exit 2 has a module of its own."""

from __future__ import annotations

import os
import signal
import time

import pytest

RAISES = """
def train(model, dataset, args):
    if len(dataset) == 5:
        raise RuntimeError("five rows are one too many")
"""

OVERRUNS = """
import torch

def train(model, dataset, args):
    optimizer = torch.optim.SGD(model.parameters(), lr=args.learning_rate)
    loader = torch.utils.data.DataLoader(dataset, args.per_device_train_batch_size, shuffle=True)
    for batch in [batch for _ in range(2) for batch in loader]:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
"""

WAITS = """
import time
from pathlib import Path
from {correct} import train as correct

HERE = Path(__file__).parent

def train(model, dataset, args):
    if len(dataset) == 5 and not (HERE / "go").exists():
        (HERE / "waiting").touch()
        time.sleep(600)
    return correct(model, dataset, args)
"""


def test_0_the_gate_is_passed(smoke):
    """Every cell that could be judged conforms."""
    shell, done = smoke
    assert done.code == 0, done.err
    assert "PASSED" in done.headline
    verdict = shell.verdict()
    assert verdict["exit_code"] == 0
    assert verdict["outcome"] == "passed"


def test_1_a_contract_is_violated(stepaudit, quick):
    """Two epochs where one was asked for: the first lines say so, with the numbers."""
    stepaudit.write("mine.py", OVERRUNS)
    done = stepaudit("run", "--subject", "mine.py:train", "--axis", "rows=4", "--no-reference", *quick)
    assert done.code == 1
    assert "`target` is broken by mine.py:train" in done.headline
    assert "4 optimizer steps where the contract says 2" in done.headline
    assert stepaudit.verdict()["exit_code"] == 1


def test_3_a_cell_cannot_be_judged(stepaudit, quick):
    """A loop that raises costs its own cell, and that cell is not a pass."""
    stepaudit.write("mine.py", RAISES)
    done = stepaudit(
        "run", "--subject", "mine.py:train", "--axis", "rows=5", "--rule", "claim", "--no-reference", *quick
    )
    assert done.code == 3
    assert "five rows are one too many" in " ".join(done.out.split())
    verdict = stepaudit.verdict()
    assert verdict["exit_code"] == 3
    assert verdict["counts"]["not_judged"] == 1


def test_4_nothing_is_compared(stepaudit, quick, my_trainer):
    """A sweep in which every pairing is unsupported has shown nothing."""
    stepaudit.write("mine.py", my_trainer)
    axes = ("--axis", "dataset=iterable", "--axis", "max_steps=2")
    done = stepaudit("run", "--subject", "mine.py:train", *axes, "--no-reference", *quick)
    assert done.code == 4
    assert stepaudit.verdict()["exit_code"] == 4


@pytest.mark.parametrize(("kill", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_130_interrupted_and_the_same_command_goes_on(stepaudit, quick, my_trainer, kill, code):
    """Ctrl-C leaves a valid record of what was done, and so does `kill -9`: nothing is lost, nothing runs twice."""
    stepaudit.write("correct.py", my_trainer)
    stepaudit.write("mine.py", WAITS.format(correct="correct"))
    command = ("run", "--subject", "mine.py:train", "--axis", "rows=4,5", "--no-reference", *quick)
    running = stepaudit.start(*command)
    until = time.monotonic() + 120
    while not (stepaudit.folder / "waiting").exists() and running.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(running.pid, kill)
    out, err = running.communicate(timeout=60)
    assert running.returncode == code, err
    if kill is signal.SIGINT:
        assert "INTERRUPTED" in out
        assert "Traceback" not in err
        assert stepaudit.verdict()["exit_code"] == 130
    stepaudit.write("go", "")
    done = stepaudit(*command)
    assert done.code == 0, done.out + done.err
    counts = stepaudit.verdict()["counts"]
    assert (counts["executed"], counts["from_store"]) == (1, 1)


def test_the_gpu_tier_without_a_gpu_is_not_judged(stepaudit, tmp_path):
    """3, with the reason, and nothing written: an absent device is never a pass."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    done = stepaudit("run", "--tier", "gpu", "--subject", "plain", "--out", str(tmp_path / "out"))
    assert done.code == 3
    assert "needs a CUDA device" in done.err
    assert not (tmp_path / "out").exists()
