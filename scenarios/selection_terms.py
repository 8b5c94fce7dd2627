"""The parts of a selection: comparisons of one value, and how each is written."""

from __future__ import annotations

import fnmatch
import operator
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["OPERATORS", "Between", "Compare", "Condition", "Number", "Text", "quoted"]

Number = int | float

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType(
    {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "": operator.eq}
)
_PLAIN = re.compile(r"[\w@*.+#/%~^$=-]+")


def quoted(text: str) -> str:
    """Return a text as the grammar writes it: bare where it is plain, else in double quotes."""
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, kw_only=True, slots=True)
class Compare:
    """A number against a number: `>1`, `<=8`, `4`."""

    sign: str
    number: Number

    def matches(self, value: Any) -> bool:
        """Return whether the value compares so; what is no number never does."""
        return _is_number(value) and OPERATORS[self.sign](value, self.number)

    def __str__(self) -> str:
        return f"{self.sign}{self.number}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Between:
    """A number in a closed range: `2..8`."""

    low: Number
    high: Number

    def matches(self, value: Any) -> bool:
        """Return whether the value lies in the range."""
        return _is_number(value) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low}..{self.high}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A word: equal, a glob with `*`, or the part before `@`; `none`, `true`, `false` match those values."""

    text: str

    def matches(self, value: Any) -> bool:
        """Return whether the value is this word."""
        if value is None:
            return self.text == "none"
        if isinstance(value, bool):
            return self.text == str(value).lower()
        word = str(value)
        if "*" in self.text:
            literal = self.text.replace("[", "[[]").replace("?", "[?]")
            return fnmatch.fnmatchcase(word, literal)
        return self.text in {word, word.partition("@")[0]}

    def __str__(self) -> str:
        return quoted(self.text)


Condition = Compare | Between | Text


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
