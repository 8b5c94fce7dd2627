"""What a pytest session says at its end, on the terminal and to GitHub: the same as the command line, and once."""

from __future__ import annotations

import re

import pytest

pytest_plugins = ["pytester"]

POINTS = [(rows, accum, limit) for rows in (8, 24) for accum in (1, 2, 4) for limit in (3, 7)]
SUITE = 'schema = 1\ntitle = "small"\nsubjects = ["plain"]\nscenario = [\n{points}]\n'
POINT = "{{ rows = {}, grad_accum = {}, max_steps = {}, logging_steps = 0 }},\n"
NO_END = ("            if updates == target:\n                break\n", "")
"""the loop of the examples never looks at its target within an epoch"""
TESTS = """
import never_ends
import pytest

@pytest.mark.scenarios("suite.toml")
def test_it(audit):
    audit(never_ends.train)

class Inside:
    def __call__(self, model, dataset, args):
        return never_ends.train(model, dataset, args)

@pytest.mark.scenarios("suite.toml", select="rows:8 max_steps:3 grad_accum:1")
def test_inside(audit):
    audit(Inside())

def test_nothing_of_ours():
    pass
"""


@pytest.fixture
def here(pytester, my_trainer, monkeypatch):
    """A directory with a loop that never ends, its suite and its tests, as on a machine of GitHub's."""
    assert my_trainer.count(NO_END[0]) == 1
    pytester.makepyfile(never_ends=my_trainer.replace(*NO_END))
    pytester.makepyfile(test_it=TESTS)
    pytester.makefile(".toml", suite=SUITE.format(points="".join(POINT.format(*point) for point in POINTS)))
    pytester.makeini("[pytest]\npythonpath = .\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "step-summary.md"))
    (pytester.path / "step-summary.md").write_text("of another command\n")
    return pytester


def annotations(done):
    return [line for line in done.outlines if line.startswith(("::error", "::warning"))]


def test_workers_say_together_what_the_command_line_says(here, stepaudit, quick):
    """Formula and conditions of all cells in its very words; one summary, one annotation a cluster."""
    done = here.runpytest_subprocess(
        "-n", "2", "-p", "no:cacheprovider", "--stepaudit-repeat", "0", "test_it.py::test_it"
    )
    assert done.ret == 1
    found = annotations(done)
    summary = (here.path / "step-summary.md").read_text()
    lines = done.outlines
    stopped = [at for at, line in enumerate(lines) if line.startswith("::stop-commands::")]
    assert len(stopped) == 1
    token = lines[stopped[0]].removeprefix("::stop-commands::")
    said = lines[stopped[0] + 1 : lines.index(f"::{token}::")]
    assert min(lines.index(line) for line in found) > lines.index(f"::{token}::")
    assert any(
        re.match(r"   really +optimizer steps = E·U = \d+·\d+ = \d+, exact on all 12 cells", line)
        for line in said
    )
    assert any(re.match(r"   when +T % U ≠ 0: \d+/\d+ fail; elsewhere 0/\d+", line) for line in said)

    stepaudit.folder = here.path
    stepaudit.variables = {"COLUMNS": "110", "PYTHONPATH": ".", "GITHUB_STEP_SUMMARY": "by-command.md"}
    by_command = stepaudit(
        "run", "--suite", "suite.toml", "--subject", "never_ends:train", "--no-reference", *quick
    )
    assert by_command.code == 1, by_command.out + by_command.err
    cards = by_command.out[by_command.out.index("DEVIATIONS") :].partition("WHAT TO DO")[0]
    assert "\n".join(said).strip() == cards.strip()
    of_command = [line for line in by_command.out.splitlines() if line.startswith("::error")]
    assert len(found) == len(of_command) > 0
    title = re.compile(r"title=.*")
    assert [title.search(line)[0] for line in found] == [title.search(line)[0] for line in of_command]
    assert all(line.startswith("::error file=never_ends.py,line=11,") for line in found)
    assert summary.startswith("of another command\n# ")
    assert len(re.findall(r"^# ", summary, re.MULTILINE)) == 1
    assert summary.removeprefix("of another command\n").count("E·U = ") == 1


@pytest.mark.parametrize(("summary", "cards"), [((), 1), (("--no-summary",), 0)], ids=["shown", "no-summary"])
def test_one_failing_cell_is_not_said_twice(here, summary, cards):
    """Its test has said it; GitHub is told either way, at the test where the trainer has no line of its own."""
    done = here.runpytest_subprocess(
        "-p", "no:cacheprovider", "--stepaudit-repeat", "0", *summary, "-k", "inside"
    )
    assert done.ret == 1
    # pytest's own short summary, which is as long as it likes where CI is set, begins with FAILED
    assert sum("new  target × test_it:Inside" in line for line in done.outlines if line[0:2] == "1.") == cards
    assert "DEVIATIONS" not in done.stdout.str()
    source = (here.path / "test_it.py").read_text().splitlines()
    line = source.index("def test_inside(audit):")  # that of its decorator, from 1
    (found,) = annotations(done)
    assert found.startswith(f"::error file=test_it.py,line={line},title=new%3A target")
    assert (here.path / "step-summary.md").read_text().startswith("of another command\n# ")


def test_a_session_that_audits_nothing_tells_github_nothing(here):
    """Whatever its gate demands."""
    here.makepyprojecttoml("[tool.stepaudit.gate]\nmin_cells = 1\n")
    done = here.runpytest_subprocess(
        "-n", "2", "-p", "no:cacheprovider", "--stepaudit-gate", "pyproject.toml", "-k", "nothing_of_ours"
    )
    done.assert_outcomes(passed=1)
    assert annotations(done) == []
    assert (here.path / "step-summary.md").read_text() == "of another command\n"
