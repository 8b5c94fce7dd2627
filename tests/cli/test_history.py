"""`stepaudit history`, fed by real runs in a repository."""

from __future__ import annotations

import subprocess

import pytest

COMMAND = (
    "run", "--subject", "mine.py:train", "--axis", "rows=4", "--rule", "claim", "--no-reference", "--jobs", "1",
    "--fresh-fraction", "0",
)  # fmt: skip


@pytest.fixture(scope="module")
def project(stepaudit_in, my_trainer):
    """Two commits, each with its run: the second one breaks `claim`."""
    shell = stepaudit_in("history")
    shell.variables = {"STEPAUDIT_HISTORY": str(shell.folder / "history.sqlite")}

    def git(*arguments):
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            [*command, *arguments], cwd=shell.folder, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    commits = []
    for text in (my_trainer, my_trainer.replace('{"global_step": updates,', '{"global_step": updates + 1,')):
        shell.write("mine.py", text)
        git("add", "mine.py")
        git("commit", "--quiet", "-m", "a change")
        commits.append(git("rev-parse", "HEAD"))
        shell(*COMMAND)
    return shell, commits


def test_the_commit_that_broke_it_is_named(project):
    """Rule, subject, a line over the runs, and the commit before and after."""
    shell, (before, after) = project
    done = shell("history")
    assert done.code == 0, done.err
    line = done.out.splitlines()[0]
    assert line.startswith("claim × mine.py:train")
    assert "▁█" in line
    assert "1/1" in line
    assert f"({after[:12]}); changed: commit {before[:12]} -> {after[:12]}" in line


def test_a_cell_is_found_by_its_scenario(project):
    """In the grammar of every other selection; what fits nothing is said to be nothing."""
    shell, (_, after) = project
    done = shell("history", "--select", "rows:4", "--subject", "mine.py:train")
    assert "1 cell deviated when they ran last" in done.out
    assert "breaks claim" in done.out
    assert after[:12] in done.out
    assert "0 cells deviated" in shell("history", "--select", "rows:5").out


def test_a_run_that_is_not_to_be_remembered_is_not(project):
    """`--no-history`; and an empty variable."""
    shell, _ = project
    shell(*COMMAND, "--no-history")
    assert "▁█ " in shell("history").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--runs", "0"], "--runs must be at least 1"),
        (["--rule", "claims"], "unknown rule 'claims'; did you mean 'claim'?"),
        (["--select", "rowz:1"], "unknown field 'rowz'"),
    ],
)
def test_what_cannot_be_asked_is_told(project, arguments, says):
    """One line, exit 2."""
    done = project[0]("history", *arguments)
    assert done.code == 2
    assert says in done.error


def test_without_a_history_nothing_is_shown(stepaudit):
    """4, and what to say where it is switched off."""
    done = stepaudit("history")
    assert done.code == 2
    assert "STEPAUDIT_HISTORY is empty" in done.error
    stepaudit.variables = {"STEPAUDIT_HISTORY": str(stepaudit.folder / "none.sqlite")}
    assert stepaudit("history").code == 4
    assert stepaudit.written() == set()
