"""The pip of the interpreter that runs: its command line, its environment, and the reason in what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass

__all__ = ["PipAnswer", "reason_in", "run_pip"]

_UNSATISFIED = re.compile(
    r"Could not find a version that satisfies the requirement (?P<what>.+?) \(from versions: "
)
_OTHER_PYTHON = re.compile(r"(?P<version>\S+) Requires-Python (?P<needs>\S+)")
_CONFLICT = re.compile(
    r"Cannot install (?P<what>.+?) because these package versions have conflicting dependencies"
)
_UNREACHABLE = (
    "NewConnectionError",
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PipAnswer:
    """What came of a pip command.

    Attributes:
        ok: whether it did what it was asked for.
        text: all it said, on both streams.
    """

    ok: bool
    text: str

    @property
    def lines(self) -> list[str]:
        """What it said, without blank lines."""
        return [line.strip() for line in self.text.splitlines() if line.strip()]


def run_pip(*arguments: str, python: str = sys.executable) -> PipAnswer:
    """Run pip for an interpreter, with the caller's index settings and without its constraints and targets."""
    command = [python, "-P", "-m", "pip", *arguments]
    command += ["--no-input", "--disable-pip-version-check", "--no-color"]
    variables = dict(os.environ) | {"PIP_USER": "0"}
    for name in ("PIP_TARGET", "PIP_PREFIX", "PIP_CONSTRAINT"):  # exact pins are the whole truth here
        variables.pop(name, None)
    done = subprocess.run(  # noqa: S603 - our own interpreter, validated pins
        command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    text = f"{done.stdout}\n{done.stderr}"
    if done.returncode and not text.strip():
        text = f"exit status {done.returncode} and no message"
    return PipAnswer(ok=done.returncode == 0, text=text)


def reason_in(answer: PipAnswer) -> str:
    """Return why pip could not do it, as one line."""
    version = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    if any(sign in answer.text for sign in _UNREACHABLE):
        return "the package index cannot be reached, and it is not in the cache"
    if conflict := _CONFLICT.search(answer.text):
        return f"{conflict['what']} cannot be installed together: {_details(answer)}"
    if unsatisfied := _UNSATISFIED.search(answer.text):
        what = unsatisfied["what"]
        named = what.partition("==")[2].partition(" ")[0]
        for other in _OTHER_PYTHON.finditer(answer.text):
            if other["version"] == named:
                return f"{what} needs Python {other['needs'].rstrip(';')}, and this is {version}"
        return f"{what} has no wheel for {version} on {sys.platform}"
    errors = [line for line in answer.lines if line.startswith("ERROR:")]
    return (errors or answer.lines)[-1]


def _details(answer: PipAnswer) -> str:
    lines = answer.lines
    for number, line in enumerate(lines):
        if line.startswith("The conflict is caused by"):
            told = [
                item
                for item in lines[number + 1 : number + 5]
                if " depends on " in item or "requested" in item
            ]
            return "; ".join(told)
    return (lines or ["no reason given"])[-1]
