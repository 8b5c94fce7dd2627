"""The installed console script, in processes of its own and directories of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

STEPAUDIT = Path(sys.executable).with_name("stepaudit")
QUICK = ("--jobs", "1", "--fresh-fraction", "0")
"""one worker, nothing twice: the cells, not their repetition, are the matter here"""


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def headline(self) -> str:
        """The first sentence of the summary, wherever its lines were broken."""
        return " ".join(self.out.strip().partition("exit code")[0].split())

    @property
    def error(self) -> str:
        """The one line of an error; anything more, or anything on stdout, is one too many."""
        assert self.out == ""
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("stepaudit: ")
        return self.err.removeprefix("stepaudit: ").rstrip()


def environment():
    """Return the caller's variables without those that change what the command prints."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"COLUMNS", "FORCE_COLOR", "PYTHONPATH"}
    }
    return kept | {"NO_COLOR": "1", "PYTHONHASHSEED": "0"}


class Shell:
    """Runs `stepaudit` in one directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables: dict[str, str] = {}
        """set in the environment besides"""

    def __call__(self, *arguments, timeout=240, stdout=subprocess.PIPE, **options) -> Done:
        done = subprocess.run(
            [STEPAUDIT, *map(str, arguments)],
            cwd=self.folder,
            env=environment() | self.variables,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=timeout,
            check=False,
            **options,
        )
        return Done(done.returncode, done.stdout or "", done.stderr)

    def start(self, *arguments) -> subprocess.Popen:
        """Start it and do not wait; it leads a process group, so that a signal reaches it as Ctrl-C would."""
        return subprocess.Popen(
            [STEPAUDIT, *map(str, arguments)],
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def write(self, name: str, text: str) -> Path:
        """Write a file beside the command."""
        path = self.folder / name
        path.write_text(text)
        return path

    def verdict(self, out="stepaudit-out") -> dict:
        """Read `verdict.json` of an output directory."""
        return json.loads((self.folder / out / "verdict.json").read_text())

    def written(self) -> set[str]:
        """Name what lies in the directory."""
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def stepaudit(tmp_path):
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def stepaudit_in(tmp_path_factory):
    """A function that opens a shell in a new directory, for what several tests read."""
    return lambda name: Shell(tmp_path_factory.mktemp(name))


@pytest.fixture(scope="session")
def quick():
    return QUICK


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """A run of the plain loop over the smoke suite: its shell and how it ended. To be read, not changed."""
    shell = Shell(tmp_path_factory.mktemp("smoke"))
    return shell, shell("run", "--suite", "smoke", "--subject", "plain", "--no-reference", *QUICK)


@pytest.fixture(scope="session")
def my_trainer(root):
    """The source of the loop that README and examples show."""
    return (root / "examples" / "my_trainer.py").read_text()
