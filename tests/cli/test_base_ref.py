"""`--base-ref`: a branch cannot excuse itself; what counts is known where it left the other one."""

from __future__ import annotations

import subprocess

import pytest
from stepaudit.harness.cli.baseline_files import baseline_of
from stepaudit.scenarios import ScenarioError
from stepaudit.scenarios.gate import Gate

ENTRY = """
[[known]]
id = "{}"
rule = "target"
subject = "mine.py:train"
where = ""
reason = "r"
upstream = "none"
owner = "us"
added = 2026-01-01
expires = 2026-03-01
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A branch that accepts `mine`, one commit after main, which since then has accepted `theirs`."""

    def git(*arguments):
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run([*command, *arguments], cwd=tmp_path, check=True, capture_output=True)

    folder = tmp_path / "audit"
    folder.mkdir()
    known = folder / "known.toml"
    git("init", "--quiet", "--initial-branch", "main")
    known.write_text("schema = 1\n" + ENTRY.format("common"))
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    git("switch", "--quiet", "-c", "branch")
    known.write_text(known.read_text() + ENTRY.format("mine"))
    git("commit", "--quiet", "-am", "accept")
    git("switch", "--quiet", "main")
    known.write_text(known.read_text() + ENTRY.format("theirs"))
    git("commit", "--quiet", "-am", "accept too")
    git("switch", "--quiet", "branch")
    monkeypatch.chdir(tmp_path)
    return known


def names(baseline):
    return [entry.id for entry in baseline.entries]


def test_the_merge_base_counts_neither_the_branch_nor_the_tip_of_the_other(repository):
    """And it is said where the entries were read."""
    assert names(baseline_of(repository)) == ["common", "mine"]
    found = baseline_of(repository, base_ref="main")
    assert names(found) == ["common"]
    assert "the merge base with main" in found.sources[0]


def test_the_gates_file_is_read_there_and_the_built_in_one_where_it_is(repository):
    """Only the project's file has a history."""
    found = baseline_of(None, Gate(known=repository), base_ref="main")
    assert names(found)[-1] == "common"
    assert found.sources[0] == "built-in"


def test_a_change_that_is_not_committed_does_not_count(repository):
    """Nor does a file that the merge base does not have: nothing is known then."""
    repository.write_text("schema = 1\n")
    assert names(baseline_of(repository, base_ref="main")) == ["common"]
    new = repository.with_name("new.toml")
    new.write_text("schema = 1\n" + ENTRY.format("mine"))
    found = baseline_of(new, base_ref="main")
    assert names(found) == []
    assert "it has no such file" in found.sources[0]


@pytest.mark.parametrize("ref", ["mian", "--upload-pack=x", "main..branch", ""])
def test_a_ref_that_git_does_not_know_is_told(repository, ref):
    """With the nearest one; nothing is taken for an option of git."""
    with pytest.raises(ScenarioError, match=f"--base-ref {ref}: git knows no such commit"):
        baseline_of(repository, base_ref=ref)


def test_the_nearest_branch_is_named(repository):
    """A typing error is the usual reason."""
    with pytest.raises(ScenarioError, match="did you mean 'main'"):
        baseline_of(repository, base_ref="mian")


def test_outside_of_git_there_is_no_base(tmp_path):
    """Told, never taken for an empty baseline."""
    known = tmp_path / "known.toml"
    known.write_text("schema = 1\n")
    with pytest.raises(ScenarioError, match="is in no git repository"):
        baseline_of(known, base_ref="main")


def test_without_a_file_of_the_project_there_is_nothing_to_read():
    """The built-in file is no branch's."""
    with pytest.raises(ScenarioError, match="needs known deviations of this project"):
        baseline_of(None, base_ref="main")


def test_unrelated_histories_have_no_base(repository):
    """A shallow clone is the usual reason."""
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    folder = repository.parents[1]
    subprocess.run([*command, "switch", "--quiet", "--orphan", "alone"], cwd=folder, check=True)
    repository.parent.mkdir(exist_ok=True)
    repository.write_text("schema = 1\n")
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    subprocess.run([*command, "commit", "--quiet", "-m", "alone"], cwd=folder, check=True)
    with pytest.raises(ScenarioError, match="no common ancestor with HEAD"):
        baseline_of(repository, base_ref="main")


def test_the_command_reads_it(stepaudit, repository):
    """`run` and `check` have the option; a wrong ref is one line and exit 2."""
    stepaudit.folder = repository.parents[1]
    for command in (["run", "--suite", "smoke", "--subject", "plain"], ["check"]):
        done = stepaudit(*command, "--known", "audit/known.toml", "--base-ref", "mian")
        assert done.code == 2
        assert "did you mean 'main'?" in done.error
