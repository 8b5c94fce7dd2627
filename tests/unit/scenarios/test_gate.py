"""`[tool.stepaudit.gate]`: found where the project is, read strictly, and silent about nothing."""

from __future__ import annotations

import pytest
from stepaudit.scenarios import ScenarioError
from stepaudit.scenarios.gate import NO_GATE, find_gate, load_gate

HEAD = "[tool.stepaudit.gate]\n"


@pytest.fixture
def write(tmp_path):
    def into(text, folder="."):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        path = tmp_path / folder / "pyproject.toml"
        path.write_text(text)
        return path

    return into


def test_everything_that_it_can_say(write):
    """Floors, ceilings, who is exempt, and the project's file of known deviations, which lies beside it."""
    path = write(
        HEAD + "min_cells = 3\nmin_rules = 2\nmax_known = 0\nmax_unsupported = 1\n"
        'informational = ["nightly*", "unsloth-zoo"]\nknown = "audit/known.toml"\n'
    )
    gate = load_gate(path)
    assert (gate.min_cells, gate.min_rules, gate.max_known, gate.max_unsupported) == (3, 2, 0, 1)
    assert gate.known == path.parent / "audit" / "known.toml"
    names = ("nightly_loop:train", "unsloth-zoo@2026.10.5", "unsloth-zoo", "unsloth", "hf")
    assert [gate.is_informational(name) for name in names] == [True, True, True, False, False]


def test_the_nearest_project_that_has_a_gate_counts(write, tmp_path):
    """A package inside a repository inherits, unless it has a gate of its own; a file without one is passed by."""
    write(HEAD + "min_cells = 1\n")
    write("[project]\nname = 'inner'\n", "inner")
    write(HEAD + "min_cells = 2\n", "inner/own")
    (tmp_path / "inner" / "own" / "tests").mkdir()
    assert find_gate(tmp_path / "inner").min_cells == 1
    assert find_gate(tmp_path / "inner" / "own" / "tests").min_cells == 2


def test_no_project_no_gate(tmp_path):
    """Nothing is demanded, nobody is exempt."""
    assert find_gate(tmp_path) == NO_GATE
    assert not NO_GATE.is_informational("hf")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + "min_cell = 3\n", "pyproject.toml: [tool.stepaudit.gate]: unknown key 'min_cell' = 3; did you mean"),
        (HEAD + "min_cell = 3\n", "'min_cells'?"),
        (HEAD + "min_cells = 0\n", "min_cells = 0: input should be greater than or equal to 1"),
        (HEAD + "min_cells = true\n", "min_cells = True: input should be a valid integer"),
        (HEAD + "min_cells = 3.0\n", "min_cells = 3.0: input should be a valid integer"),
        (HEAD + 'min_cells = "3"\n', "min_cells = '3': input should be a valid integer"),
        (HEAD + "max_known = -1\n", "max_known = -1: input should be greater than or equal to 0"),
        (HEAD + 'informational = "hf"\n', "informational = 'hf': input should be a valid list"),
        (HEAD + 'informational = [""]\n', "informational 1 = ''"),
        ("[tool.stepaudit.gatte]\n", "[tool.stepaudit]: unknown key 'gatte' = {}; did you mean 'gate'?"),
        ("[tool]\nstepaudit = 3\n", "[tool.stepaudit] is a table, not 3"),
        ("[tool.stepaudit]\ngate = 3\n", "gate = 3: input should be a valid dictionary"),
        ("[tool.stepaudit\n", "is not TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(write, tmp_path, text, says):
    """File, table, value, nearest name; found by itself or named."""
    path = write(text)
    for read in (lambda: load_gate(path), lambda: find_gate(tmp_path)):
        with pytest.raises(ScenarioError) as error:
            read()
        assert says in str(error.value)


def test_a_file_that_was_named_has_a_gate(write, tmp_path):
    """A gate that is not there must not pass for one that is met."""
    with pytest.raises(ScenarioError, match=r"has no \[tool.stepaudit.gate\]"):
        load_gate(write("[project]\nname = 'x'\n"))
    with pytest.raises(ScenarioError, match="no such file"):
        load_gate(tmp_path / "nowhere.toml")
