"""`stepaudit baseline`: accepting a deviation covers exactly it, is done by people, and turns no finished run green."""

from __future__ import annotations

import json
import shutil
import tomllib
from datetime import UTC, datetime, timedelta

import pytest

CLAIMS_MORE = (
    '{"global_step": updates,',
    '{"global_step": updates + (args.gradient_accumulation_steps - 1),',
)
"""right without accumulation, wrong by a formula with it"""
COMMAND = (
    "run", "--subject", "mine.py:train", "--axis", "rows=5,9", "--axis", "max_steps=none,7", "--axis",
    "grad_accum=1,2,3", "--no-reference", "--jobs", "1", "--fresh-fraction", "0",
)  # fmt: skip
FILE = """# ours
schema = 1

[[known]]  # an old friend
id = "old"
rule = "target"
subject = "somebody.py:else"
where = ""
reason = "it was so before"
upstream = "tracker 1"
owner = "us"
added = 2026-01-01
expires = 2026-03-01
"""
PROJECT = '[tool.stepaudit.gate]\nknown = "known.toml"\n'


@pytest.fixture(scope="module")
def finished(stepaudit_in, my_trainer):
    """A red run of a loop whose claim is wrong wherever it accumulates, in a project with a known-deviations file."""
    shell = stepaudit_in("baseline")
    shell.write("mine.py", my_trainer.replace(*CLAIMS_MORE))
    shell.write("pyproject.toml", PROJECT)
    shell.write("known.toml", FILE)
    assert shell(*COMMAND).code == 1
    return shell


@pytest.fixture
def project(finished, stepaudit):
    """A copy of it, in a shell where nobody has set CI."""
    shutil.copytree(finished.folder, stepaudit.folder, dirs_exist_ok=True)
    stepaudit.variables = {"CI": ""}
    return stepaudit


def test_what_is_accepted_is_known_to_the_next_run_and_never_to_this_one(project):
    """`check` stays red, also with the file named; the same command is green; the trainer mended, it is stale."""
    ids = [cluster["id"] for cluster in project.verdict()["clusters"]]
    assert ids == ["claim-mine-py-train"]
    done = project("baseline", "accept", "stepaudit-out", ids[0], "--reason", "counts calls", "--owner", "us")
    assert done.code == 0, done.err
    assert project("check").code == 1
    assert project("check", "--known", "known.toml").code == 1
    assert project.verdict()["counts"]["known"] == 0
    done = project(*COMMAND)
    assert done.code == 0, done.out
    counts = project.verdict()["counts"]
    assert (counts["known"], counts["conforms"], counts["executed"]) == (8, 4, 0)
    assert project("check").code == 0


def test_the_entry_covers_exactly_the_cluster_and_pins_what_is_wrong(project):
    """A formula for all its values; everything that was in the file is still there, to the letter."""
    project(
        "baseline",
        "accept",
        "stepaudit-out",
        "claim-mine-py-train",
        "--reason",
        'a "quoted" one \\ 2',
        "--owner",
        "us",
    )
    text = (project.folder / "known.toml").read_text()
    assert text.startswith(FILE)
    (_, entry) = tomllib.loads(text)["known"]
    assert entry["where"] == "grad_accum:2,3"
    assert entry["rule"] == "claim"
    assert entry["subject"] == "mine.py:train"
    assert entry["got_formula"] == "expected + A - 1"
    assert entry["reason"] == 'a "quoted" one \\ 2'
    assert entry["owner"] == "us"
    assert [item.partition(">=")[0] for item in entry["versions"]] == ["torch"]
    assert entry["expires"] - entry["added"] == timedelta(days=90)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["claim-mine", "--reason", "r"], "no cluster 'claim-mine'; did you mean 'claim-mine-py-train'?"),
        (["claim-mine-py-train", "--reason", " "], "--reason is empty"),
        (["claim-mine-py-train", "--reason", "r", "--expires", "soon"], "--expires must be a day"),
        (["claim-mine-py-train", "--reason", "r", "--expires", "2020-01-01"], "within 180 days"),
        (["claim-mine-py-train", "--reason", "r", "--no-gate"], "where to?"),
    ],
)
def test_what_cannot_be_accepted_is_told_and_nothing_is_written(project, arguments, says):
    """One line, exit 2."""
    done = project("baseline", "accept", "stepaudit-out", *arguments)
    assert done.code == 2
    assert says in done.error
    assert (project.folder / "known.toml").read_text() == FILE


def test_ci_accepts_nothing(project):
    """Neither by name nor by review."""
    project.variables = {"CI": "true"}
    accept = project("baseline", "accept", "stepaudit-out", "claim-mine-py-train", "--reason", "r")
    review = project("baseline", "review")
    for done in (accept, review):
        assert done.code == 2
        assert "never in CI" in done.error
    assert (project.folder / "known.toml").read_text() == FILE


def test_a_file_that_is_broken_is_left_alone(project):
    """What cannot be read cannot be appended to."""
    project.write("known.toml", FILE.replace('rule = "target"', 'rule = "targt"'))
    done = project("baseline", "accept", "stepaudit-out", "claim-mine-py-train", "--reason", "r")
    assert done.code == 2
    assert "unknown rule 'targt'; did you mean 'target'?" in done.error


def test_review_walks_the_clusters_and_takes_defaults(project):
    """It shows the evidence, asks again for what it cannot take, writes at once; twice is told."""
    done = project("baseline", "review", input="because\nhttps://tracker.example/7\nus\nnever\n\n")
    assert done.code == 0, done.err
    assert "1 of 1  claim-mine-py-train" in done.out
    assert "formula       global_step = optimizer steps observed" in done.out
    assert "--expires must be a day" in done.out
    (_, entry) = tomllib.loads((project.folder / "known.toml").read_text())["known"]
    assert (entry["reason"], entry["upstream"]) == ("because", "https://tracker.example/7")
    before = (project.folder / "known.toml").read_text()
    done = project("baseline", "review", input="again\n\nus\n\n")
    assert "knows 'claim-mine-py-train' already" in done.out
    done = project("baseline", "review", input="\n")
    assert done.code == 0
    done = project("baseline", "review", input="")
    assert done.code == 0
    assert (project.folder / "known.toml").read_text() == before


def test_a_deviation_that_drifts_out_of_its_formula_is_red_again(project):
    """The entry pins a value, not a blank cheque."""
    project("baseline", "accept", "stepaudit-out", "claim-mine-py-train", "--reason", "r", "--owner", "us")
    source = (project.folder / "mine.py").read_text()
    project.write(
        "mine.py", source.replace("args.gradient_accumulation_steps - 1", "args.gradient_accumulation_steps")
    )
    assert project(*COMMAND).code == 1
    counts = project.verdict()["counts"]
    assert (counts["drifted"], counts["new"]) == (8, 4)


def test_an_entry_about_to_expire_is_a_warning_everywhere(project):
    """Terminal, summary, verdict: who looks after it, where it is reported, how many days are left."""
    soon = (datetime.now(UTC).date() + timedelta(days=13)).isoformat()
    project(
        "baseline", "accept", "stepaudit-out", "claim-mine-py-train", "--reason", "r", "--owner", "us", "--issue", "T7",
        "--expires", soon,
    )  # fmt: skip
    done = project(*COMMAND)
    assert done.code == 0
    assert f"expires on {soon} (13 days left; owner us, upstream T7)" in " ".join(done.out.split())
    verdict = project.verdict()
    assert [(entry["known_id"], entry["days"]) for entry in verdict["expiring"]] == [
        ("claim-mine-py-train", 13)
    ]
    assert verdict["clusters"][0]["owner"] == "us"
    assert "13 days left" in (project.folder / "stepaudit-out" / "summary.md").read_text()
    assert json.loads((project.folder / "stepaudit-out" / "verdict.json").read_text())["exit_code"] == 0
