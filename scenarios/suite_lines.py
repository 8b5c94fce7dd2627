"""Where in a suite's file a scenario is written: for messages that point at a line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .axes import legal_base
from .border import parse_toml
from .scenario import Scenario, ScenarioError
from .suite_file import sweep_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["scenario_line"]

_SKIPPED = re.compile(
    r"""
      \"{3} (?: \\. | (?!\"{3}). )* \"{3} | '{3} .*? '{3}
    | " (?: \\. | [^"\\\n] )* " | ' [^'\n]* '
    | \# [^\n]*
    """,
    re.DOTALL | re.VERBOSE,
)
"""strings and comments"""


def scenario_line(path: Path, scenario: Scenario) -> int | None:
    """Return the 1-based line of the table that a scenario of a run comes from, or of the sweep that makes it.

    Fields that the command line has changed since (axes, a tier) are allowed to differ where nothing fits exactly.

    Returns:
        None where the file cannot be read or has no such scenario.
    """
    try:
        text = path.read_text(encoding="utf-8")
        file = parse_toml(text, where=path.name)
        defaults = legal_base(file.get("defaults", {}), where=path.name)
        tables: list[Mapping[str, Any]] = [defaults | table for table in file.get("scenario", [])]
        sweeps = [sweep_of(table, where=path.name).scenarios for table in file.get("sweep", [])]
    except (OSError, UnicodeDecodeError, ScenarioError, TypeError, AttributeError):
        return None
    fields = scenario.to_mapping()
    blank = Scenario().to_mapping()
    for number, table in enumerate(tables):
        if blank | dict(table) == fields:
            return _line_of_table(text, number)
    for number, made in enumerate(sweeps):
        if scenario in made:
            return _line_of_header(text, "sweep", number)
    shared = [sum(fields.get(name) == value for name, value in table.items()) for table in tables]
    best = max(range(len(tables)), key=lambda number: shared[number], default=None)
    return None if best is None or not shared[best] else _line_of_table(text, best)


def _line_of_table(text: str, number: int) -> int | None:
    """Return the line of the n-th scenario, written as `[[scenario]]` or as an inline table of `scenario = [`."""
    header = _line_of_header(text, "scenario", number)
    if header is not None:
        return header
    begin = re.search(r"^\s*scenario\s*=\s*\[", text, re.MULTILINE)
    if begin is None:
        return None
    depth = 0
    for at, character in _code(text, begin.end()):
        if character == "{":
            if depth == 0 and number == 0:
                return text.count("\n", 0, at) + 1
            number -= depth == 0
            depth += 1
        elif character == "}":
            depth -= 1
        elif character == "]" and depth == 0:
            return None
    return None


def _line_of_header(text: str, name: str, number: int) -> int | None:
    found = list(re.finditer(rf"^[ \t]*\[\[\s*{name}\s*\]\]", text, re.MULTILINE))
    return text.count("\n", 0, found[number].start()) + 1 if number < len(found) else None


def _code(text: str, begin: int) -> Iterator[tuple[int, str]]:
    """Give the characters that are neither in a string nor in a comment, with their places."""
    at = begin
    while at < len(text):
        skipped = _SKIPPED.match(text, at)
        if skipped is not None:
            at = skipped.end()
            continue
        yield at, text[at]
        at += 1
