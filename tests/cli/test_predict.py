"""`stepaudit predict` explains its numbers, and its options are those of the whole command line, frozen."""

from __future__ import annotations

import re
import shlex

import pytest

OPTIONS = {
    "run": {
        "--axis", "--base-ref", "--contract", "--fresh-fraction", "--gate", "--history", "--jobs", "--known",
        "--memory", "--no-gate", "--no-history", "--no-reference", "--no-verbose", "--out", "--reference", "--rule",
        "--select", "--shard", "--subject", "--suite", "--tier", "--timeout", "--verbose", "--with",
    },
    "predict": {"--contract"},
    "check": {"--base-ref", "--gate", "--known", "--no-gate", "--no-verbose", "--verbose"},
    "report": {"--no-verbose", "--verbose"},
    "replay": {"--timeout"},
    "doctor": set(),
    "explain": {
        "--figure", "--held-out", "--hypothesis", "--jobs", "--no-run", "--no-shrink", "--rule", "--run", "--seed",
        "--shrink", "--subject", "--timeout",
    },
    "fuzz": {
        "--budget", "--contract", "--jobs", "--known", "--out", "--rule", "--seed", "--subject", "--timeout",
    },
    "faults": {"--jobs", "--numeric", "--only", "--out", "--suite"},
    "train": {
        "--eval-rows", "--hidden", "--layers", "--lora", "--model", "--no-resume", "--out", "--resume", "--rows",
        "--tokens",
    },
    "baseline": set(),
    "baseline accept": {"--expires", "--gate", "--issue", "--known", "--no-gate", "--owner", "--reason"},
    "baseline review": {"--gate", "--known", "--no-gate"},
    "compare": {"--no-verbose", "--out", "--subject-a", "--subject-b", "--verbose"},
    "timeline": {
        "--contract", "--jobs", "--out", "--page", "--suite", "--tier", "--timeout", "--versions", "--with",
    },
    "history": {"--all-projects", "--no-all-projects", "--rule", "--runs", "--select", "--subject"},
}  # fmt: skip
"""what people have in their scripts; a change here is a change of the interface"""


def test_the_founding_case_is_explained(stepaudit):
    """Formulas in symbols and with the numbers of Unsloth's issue filled in."""
    done = stepaudit(
        *shlex.split(
            "predict --rows 5590 --per-device-batch-size 4 --grad-accum 4 --max-steps 350 --contract hf-5"
        )
    )
    assert done.code == 0, done.err
    assert "T = max_steps = 350 (a positive max_steps overrides epochs)" in done.out
    assert "M = ceil(rows / (B·R)) = ceil(5590 / (4·1)) = 1398" in done.out
    assert "U = max(M // A + (M % A > 0), 1) = max(349 + 1, 1) = 350" in done.out
    assert "E = ceil(T / U) = ceil(350 / 350) = 1" in done.out


def test_the_names_of_training_arguments_are_understood(stepaudit):
    """People copy their arguments as they are."""
    ours = stepaudit(*shlex.split("predict --rows 60 --per-device-batch-size 2 --grad-accum 4 --epochs 1.5"))
    theirs = stepaudit(
        *shlex.split(
            "predict --rows 60 --per-device-train-batch-size 2 --gradient-accumulation-steps 4 --num-train-epochs 1.5"
        )
    )
    assert ours.code == theirs.code == 0
    assert ours.out == theirs.out


def test_every_contract_is_shown(stepaudit):
    """Without --contract, side by side."""
    done = stepaudit("predict", "--rows", "60")
    assert {"hf-5", "hf-4.45", "token-mean"} <= set(re.findall(r"^contract  ([\w.-]+):", done.out, re.M))


@pytest.mark.parametrize("command", OPTIONS)
def test_the_options_are_those_that_were_published(stepaudit, command):
    """An option that goes, comes or changes its name is noticed here."""
    done = stepaudit(*command.split(), "--help")
    assert done.code == 0
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", done.out)) >= OPTIONS[command]
    listed = {
        word
        for line in done.out.splitlines()
        if line.startswith("│ ")
        for word in re.findall(r"(?<![\w-])--[a-z][a-z-]*", line[:60])
    }
    assert listed - OPTIONS[command] - {"--help", "--version"} == set()


def test_the_commands_are_those_that_were_published(stepaudit):
    """Each has its options above."""
    assert set(re.findall(r"^│ ([a-z]+)", stepaudit("--help").out, re.M)) == {
        name.split()[0] for name in OPTIONS
    }


def test_version_and_help_exit_with_0(stepaudit):
    """And say which one this is."""
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", stepaudit("--version").out)
    assert "run" in stepaudit("--help").out
    assert stepaudit("doctor").code == 0
