"""A message about a scenario points at the line where somebody wrote it."""

from __future__ import annotations

import pytest
from stepaudit.scenarios import Scenario, Tier
from stepaudit.scenarios.suite_lines import scenario_line
from stepaudit.scenarios.suites import load_suite

TRAPS = """schema = 1
title = "scenario = [ { not = 1 }"  # { nor = this }
subjects = ["plain"]
# scenario = [
scenario = [
  # { rows = 9 }
  { rows = 9 }, { rows = 10, lr_schedule = "cosine" },  # two in a line }

  { rows = 11, grad_accum = 2 },
]
"""


def write(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_inline_tables_among_strings_and_comments(tmp_path):
    """Braces in titles and comments are none."""
    path = write(tmp_path, TRAPS)
    assert [scenario_line(path, item) for item in load_suite(path).scenarios] == [7, 7, 9]


@pytest.mark.parametrize(
    "name", ["examples/suite.toml", "scenarios/suites/smoke.toml", "scenarios/suites/founding.toml"]
)
def test_every_scenario_of_a_suite_has_a_line(root, name):
    """Its own table's, or that of the sweep that makes it; the fields of a table are on its lines."""
    path = root / name
    lines = path.read_text().splitlines()
    for item in load_suite(path).scenarios:
        line = scenario_line(path, item)
        assert line is not None
        assert lines[line - 1].strip().startswith(("{", "[[scenario]]", "[[sweep]]"))


def test_a_scenario_that_the_command_line_has_changed_is_found_by_what_is_left(tmp_path):
    """Another axis value or tier leaves the rest of the table."""
    path = write(tmp_path, TRAPS)
    changed = Scenario(rows=10, lr_schedule="cosine", epochs=3.0, model="tiny-llama", tier=Tier.NUMERIC)
    assert scenario_line(path, changed) == 7


@pytest.mark.parametrize("text", ["", "scenario = 3", "scenario = [{ rows = 9 }", "\x00", "scenario = [3]"])
def test_what_is_no_suite_has_no_lines(tmp_path, text):
    """A message without a line is better than none."""
    assert scenario_line(write(tmp_path, text), Scenario(rows=9)) is None
    assert scenario_line(tmp_path / "nowhere.toml", Scenario(rows=9)) is None
