"""The words that a selection may use: fields with the kind of their values, and flags."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from .axes import ALIASES, AXIS_NAMES, axis_type, is_optional
from .scenario import ScenarioError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CELL_VOCABULARY", "SCENARIO_VOCABULARY", "Field", "FieldKind", "Vocabulary"]


class FieldKind(StrEnum):
    """What the values of a field are."""

    NUMBER = "number"
    WORD = "word"
    TEXT = "text"


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One field of the mapping that is selected from.

    Attributes:
        kind: number, word (one of `choices`) or free text.
        choices: the words that exist; for a number, the words beside numbers (`none`).
    """

    kind: FieldKind
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """All words of a selection.

    Attributes:
        fields: name to kind.
        aliases: short names.
        flags: bare words; each is a truth value of the mapping.
    """

    fields: Mapping[str, Field]
    aliases: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    def canonical(self, word: str) -> str:
        """Return the field that a name or alias means.

        Raises:
            ScenarioError: no such field; the message names the nearest.
        """
        name = word.replace("-", "_")
        name = self.aliases.get(name, name)
        if name not in self.fields:
            raise ScenarioError(f"unknown field {word!r}{nearest(word, (*self.fields, *self.aliases))}")
        return name

    def extended(
        self, *, fields: Mapping[str, Field] | None = None, flags: tuple[str, ...] = ()
    ) -> Vocabulary:
        """Return a vocabulary with more (or other) fields and more flags."""
        return replace(self, fields={**self.fields, **(fields or {})}, flags=(*self.flags, *flags))


def _axis_field(name: str) -> Field:
    kind = axis_type(name)
    if kind in {int, float}:
        return Field(kind=FieldKind.NUMBER, choices=("none",) if is_optional(name) else ())
    words = tuple(kind) if issubclass(kind, StrEnum) else ("true", "false")
    return Field(kind=FieldKind.WORD, choices=words)


_TEXT = Field(kind=FieldKind.TEXT)

SCENARIO_VOCABULARY = Vocabulary(
    fields=MappingProxyType({name: _axis_field(name) for name in AXIS_NAMES}),
    aliases=ALIASES,
    flags=("drop_last", "shuffle"),
)
"""The fields of a scenario."""

STANDINGS = ("new", "known", "drifted", "expired", "informational")

CELL_VOCABULARY = SCENARIO_VOCABULARY.extended(
    fields={
        "id": _TEXT,
        "suite": _TEXT,
        "subject": _TEXT,
        "rule": _TEXT,
        "contract": _TEXT,
        "verdict": Field(
            kind=FieldKind.WORD, choices=("conforms", "deviates", "flaky", "error", "unsupported")
        ),
        "standing": Field(kind=FieldKind.WORD, choices=STANDINGS),
    },
    flags=STANDINGS,
)
"""The fields of a judged cell."""
