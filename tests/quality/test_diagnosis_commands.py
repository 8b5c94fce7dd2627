"""`explain` and `fuzz` from the command line, with real workers: a trainer that crashes or hangs ends nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LOOPS = """
import math, os, time
import torch
from torch.utils.data import DataLoader

def _train(model, dataset, args, extra=0):
    loader = DataLoader(dataset, batch_size=args.per_device_train_batch_size, drop_last=args.dataloader_drop_last)
    accum = args.gradient_accumulation_steps
    per_epoch = math.ceil(len(loader) / accum)
    target = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * per_epoch)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.learning_rate)
    done = 0
    while done < target + extra:
        batches = list(loader)
        for first in range(0, len(batches), accum):
            window = batches[first : first + accum]
            total = sum(int((b["labels"][..., 1:] != -100).sum()) for b in window)
            for batch in window:
                model(**batch, num_items_in_batch=total).loss.backward()
            if args.max_grad_norm:
                torch.nn.utils.clip_grad_norm_(model.parameters(), args.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            done += 1
            if done == target + extra:
                break
    return {"global_step": done}

def crashing(model, dataset, args):
    if args.per_device_train_batch_size == 3:
        os._exit(7)
    if args.gradient_accumulation_steps == 5:
        time.sleep(60)
    return _train(model, dataset, args, extra=args.max_steps > 0 and args.gradient_accumulation_steps > 1)

def one_more(model, dataset, args):
    return _train(model, dataset, args, extra=args.max_steps > 0 and args.gradient_accumulation_steps > 1)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the loops."""
    path = tmp_path_factory.mktemp("loops")
    (path / "loops.py").write_text(LOOPS, encoding="utf-8")
    return path


def stepaudit(folder, *arguments):
    """Run the command line as a user does."""
    command = [sys.executable, "-P", "-c", "from stepaudit.harness.cli import main; main()", *arguments]
    return subprocess.run(
        command, cwd=folder, env=dict(os.environ), capture_output=True, text=True, check=False
    )


@pytest.mark.timeout(600)
def test_a_fuzz_survives_crashes_and_hangs_and_reduces_what_it_finds(folder):
    """Exit code 1, the smallest scenario, the reproduce line; crashes are listed, not findings."""
    arguments = (
        "fuzz",
        "--subject",
        "loops.py:crashing",
        "--budget",
        "60s",
        "--timeout",
        "5",
        "--out",
        "fuzzed",
    )
    done = stepaudit(folder, *arguments, "--rule", "target")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "target  (new)" in done.stdout
    assert "no single simplification breaks it" in done.stdout
    line = "--axis rows=1 --axis per_device_batch_size=1 --axis grad_accum=2 --axis max_steps=1"
    assert f"reproduce stepaudit run --subject loops.py:crashing {line}" in done.stdout
    assert "worker exited with code 7" in done.stdout
    assert (folder / "fuzzed" / "examples.jsonl").read_text(encoding="utf-8").count("\n") == 1


@pytest.mark.timeout(600)
def test_a_sweep_is_explained_from_its_records(folder):
    """Formula, interaction and hypothesis of a loop that makes one update too many."""
    subject = ("--subject", "loops.py:one_more")
    axes = ("--axis", "rows=5,8,12", "--axis", "grad_accum=1,2", "--axis", "max_steps=none,2,7")
    ran = stepaudit(folder, "run", *subject, *axes, "--rule", "target", "--out", "swept", "--no-reference")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    held = ("--hypothesis", "max_steps + 1", "--hypothesis", "max_steps * epochs")
    done = stepaudit(folder, "explain", "swept", "--held-out", "60", *held)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "target: 6 of 18 cells" in done.stdout
    assert "max_steps > 0" in done.stdout
    assert "fresh random scenarios" in done.stdout
    assert "`max_steps + 1`" in done.stdout


@pytest.mark.timeout(600)
def test_a_conforming_trainer_has_nothing_to_explain(folder):
    """Exit code 0 and one line that says so."""
    axes = ("--axis", "rows=5,8", "--axis", "grad_accum=1,2")
    assert (
        stepaudit(folder, "run", "--subject", "plain", *axes, "--out", "clean", "--no-reference").returncode
        == 0
    )
    done = stepaudit(folder, "explain", "clean")
    assert done.returncode == 0
    assert "Nothing to explain: in 4 cells every rule holds" in done.stdout


def test_wrong_words_are_usage_errors(folder):
    """Exit code 2 and the nearest valid word."""
    for arguments, word in (
        (("fuzz", "--subject", "plain", "--budget", "soon"), "budget must be a time"),
        (("fuzz", "--subject", "plain", "--rule", "targit"), "target"),
        (("explain", "nowhere"), "holds no run"),
    ):
        done = stepaudit(folder, *arguments)
        assert done.returncode == 2, done.stdout + done.stderr
        assert word in done.stderr
