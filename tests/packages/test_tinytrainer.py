"""A package of somebody's, installed and gated as its team would: by the command and by pytest, green and red."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

RUN = ("run", "--suite", "audit.toml", "--no-reference", "--jobs", "1", "--fresh-fraction", "0")
FAULTS = {
    "target": ("math.ceil(len(loader) / args", "math.floor(len(loader) / args"),
    "weight": ("num_items_in_batch=tokens).loss", "num_items_in_batch=tokens * len(window)).loss"),
}
"""one line each: an epoch's short window is not planned for; every window is divided by its length once more"""
FIRST_SCREEN = 25


class Project:
    """The package's checkout beside the folder that it is installed into."""

    def __init__(self, folder: Path, site: Path) -> None:
        self.folder, self.site = folder, site
        path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
        self.environment = os.environ | {"PYTHONPATH": path, "NO_COLOR": "1", "CI": "true"}
        self.environment.pop("COLUMNS", None)

    def run(self, *command):
        """Run a command in the checkout; return exit code and standard output."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        return done.returncode, done.stdout

    def stepaudit(self, *arguments):
        """Run the installed console script."""
        return self.run(Path(sys.executable).with_name("stepaudit"), *arguments)

    def pytest(self, *arguments):
        """Run the package's tests."""
        return self.run(sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", *arguments)

    def change(self, old, new):
        """Change one line of the installed trainer."""
        source = self.site / "tinytrainer" / "__init__.py"
        text = source.read_text()
        assert text.count(old) == 1
        source.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def installed(root, tmp_path_factory):
    """The checkout without its package, which is installed; its known deviation was accepted last month."""
    whole = tmp_path_factory.mktemp("tinytrainer")
    source, site = whole / "checkout", whole / "site"
    shutil.copytree(root / "tests" / "packages" / "tinytrainer", source)
    command = [sys.executable, "-P", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*command, "--no-deps", "--no-build-isolation", "--target", site, source], cwd=whole, check=True
    )
    for name in ("tinytrainer", "build", "tinytrainer.egg-info"):
        shutil.rmtree(source / name, ignore_errors=True)
    known = source / "known_deviations.toml"
    day = datetime.now(UTC).date()
    text = re.sub(
        r"^added = .*$", f"added = {day - timedelta(days=30)}", known.read_text(), flags=re.MULTILINE
    )
    text = re.sub(r"^expires = .*$", f"expires = {day + timedelta(days=100)}", text, flags=re.MULTILINE)
    known.write_text(text)
    return whole


@pytest.fixture
def project(installed, tmp_path):
    shutil.copytree(installed, tmp_path / "whole")
    return Project(tmp_path / "whole" / "checkout", tmp_path / "whole" / "site")


def test_the_correct_trainer_is_green(project):
    """Four cells conform, one is known, every floor of its gate is met; by the command and by pytest on two workers."""
    code, text = project.stepaudit(*RUN)
    assert code == 0, text
    counts = json.loads((project.folder / "stepaudit-out" / "verdict.json").read_text())["counts"]
    assert (counts["conforms"], counts["known"], counts["new"]) == (4, 1, 0)
    code, text = project.pytest("-n", "2", "--stepaudit-report", "by-pytest")
    assert code == 0, text
    assert "4 passed, 1 xfailed" in text
    merged = json.loads((project.folder / "by-pytest" / "verdict.json").read_text())
    assert (merged["counts"]["conforms"], merged["counts"]["known"]) == (4, 1)
    assert merged["gate"]["missed"] == []


@pytest.mark.parametrize("rule", FAULTS)
def test_one_line_makes_it_red_and_the_first_screen_says_why(project, rule):
    """Rule, formula with numbers, and the line that shows it again, by the command and by pytest, in the same words."""
    project.change(*FAULTS[rule])
    formula = {"target": r"T = ceil\(epochs·U\) = ", "weight": r"1 / N = 1 / \d+"}[rule]
    by_command, by_pytest = project.stepaudit(*RUN), project.pytest()
    for code, text in (by_command, by_pytest):
        assert code == 1, text
        screen = "\n".join(text.splitlines()[:FIRST_SCREEN])
        assert re.search(rf"new  {rule} × tinytrainer:train", screen), screen
        assert re.search(formula, screen), screen
        assert re.search(r"Reproduce with: stepaudit run --subject tinytrainer:train --axis ", screen), screen
    block = by_command[1].partition("1. ✗ new")[2].partition("\n\n")[0]
    said = " ".join(by_pytest[1].split())
    for field in ("rule", "smallest", "formula", "expected", "got", "Reproduce with:", "books part"):
        (value,) = re.findall(rf"^   {field}\s+(.*(?:\n {{17}}.*)*)$", block, re.MULTILINE)
        assert f"{field} {' '.join(value.split())}" in said, field


def test_tests_that_are_left_out_miss_the_floor(project):
    """A session that audits one cell is no gate, and says so."""
    code, text = project.pytest("test_accounting.py::test_accounting[rows=16,B=2,A=2,epochs=1]")
    assert code == 1
    assert re.search(r"gate of .*pyproject\.toml missed: min_cells = 5: judged 1, at least 5 wanted", text)
    assert "1 passed" in text
