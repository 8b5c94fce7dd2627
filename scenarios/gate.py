"""What a project demands of its runs: `[tool.stepaudit.gate]` in its pyproject.toml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from .border import FileModel, read_toml, validated
from .scenario import ScenarioError
from .selection_terms import Text

__all__ = ["NO_GATE", "PROJECT_FILE", "Gate", "find_gate", "load_gate"]

PROJECT_FILE = "pyproject.toml"

_Least = Annotated[int, Field(ge=1)]
_Most = Annotated[int, Field(ge=0)]


class GateTable(FileModel):
    """`[tool.stepaudit.gate]`."""

    min_cells: _Least | None = None
    min_rules: _Least | None = None
    max_known: _Most | None = None
    max_unsupported: _Most | None = None
    informational: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    known: str | None = Field(default=None, min_length=1)


class ToolTable(FileModel):
    """`[tool.stepaudit]`."""

    gate: dict[str, object] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """The floors and ceilings of a project, and what is exempt from them.

    Attributes:
        path: the file that they are from; None where there is none.
        min_cells: cells that must have been judged.
        min_rules: rules that must have been asked of at least one cell.
        max_known: cells that may have known deviations.
        max_unsupported: cells that the subjects may decline.
        informational: subjects whose deviations are reported and never fail, as `subject:` of the selection grammar
            names them: a name, a name without its `@version`, a glob.
        known: the project's file of known deviations, which is read besides the built-in one.
    """

    path: Path | None = None
    min_cells: int | None = None
    min_rules: int | None = None
    max_known: int | None = None
    max_unsupported: int | None = None
    informational: tuple[str, ...] = ()
    known: Path | None = None

    def is_informational(self, subject: str) -> bool:
        """Return whether what this subject does is reported only."""
        return any(Text(text=pattern).matches(subject) for pattern in self.informational)


NO_GATE = Gate()


def find_gate(start: Path) -> Gate:
    """Return the gate of the project that a directory belongs to: the nearest pyproject.toml upwards that has one.

    Raises:
        ScenarioError: that file, or one on the way to it, is not TOML; or its table has something wrong in it.
    """
    for folder in (start, *start.parents):
        path = folder / PROJECT_FILE
        if path.is_file() and (gate := _gate(path)) is not None:
            return gate
    return NO_GATE


def load_gate(path: Path) -> Gate:
    """Return the gate of a file that was named.

    Raises:
        ScenarioError: as `find_gate`, or the file has no `[tool.stepaudit.gate]`.
    """
    gate = _gate(path)
    if gate is None:
        raise ScenarioError(f"{path}: has no [tool.stepaudit.gate]")
    return gate


def _gate(path: Path) -> Gate | None:
    tool: Any = read_toml(path).get("tool", {})
    if not isinstance(tool, dict) or "stepaudit" not in tool:
        return None
    where = f"{path.name}: [tool.stepaudit"
    if not isinstance(tool["stepaudit"], dict):
        raise ScenarioError(f"{where}] is a table, not {tool['stepaudit']!r}")
    inner = validated(ToolTable, tool["stepaudit"], where=f"{where}]").gate
    if inner is None:
        return None
    table = validated(GateTable, inner, where=f"{where}.gate]")
    return Gate(
        path=path,
        min_cells=table.min_cells,
        min_rules=table.min_rules,
        max_known=table.max_known,
        max_unsupported=table.max_unsupported,
        informational=tuple(table.informational),
        known=path.parent / table.known if table.known is not None else None,
    )
