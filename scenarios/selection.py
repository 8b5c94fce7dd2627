"""The one selection grammar: `subject:trl accum:>1 verdict:deviates !known rule:target`.

Grammar::

    selection    = { term }                         all terms must hold; none selects everything
    term         = [ "!" ] ( field ":" alternative { "," alternative } | flag )
    alternative  = ( ">" | ">=" | "<" | "<=" ) number | range | number | word | '"' text '"'
    range        = number ".." number | ".." number | number ".."

A comma means or, `!` means not, a bare word is a flag. A word matches itself, a glob with `*`, and a text
that continues with `@` (`unsloth-zoo` matches `unsloth-zoo@2026.10.5`); `none` matches an absent value. A
field that holds several values matches when one of them does.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .scenario import ScenarioError, nearest
from .selection_terms import Between, Compare, Condition, Number, Text
from .vocabulary import CELL_VOCABULARY, Field, FieldKind, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["FieldTerm", "FlagTerm", "Selection", "parse_selection"]

_TOKEN = re.compile(r'(?:[^\s"]|"(?:[^"\\]|\\.)*")+')
_ALTERNATIVE = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^,"]+)')
_HEAD = re.compile(r"(?P<negated>!?)(?P<name>[\w-]+)(?P<rest>:.*)?", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
_COMPARED = re.compile(r"(>=|<=|>|<|)(.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class FlagTerm:
    """A bare word."""

    flag: str
    negated: bool = False

    def matches(self, cell: Mapping[str, Any]) -> bool:
        """Return whether the flag is set (not set, when negated); an absent flag is not set."""
        return bool(cell.get(self.flag, False)) is not self.negated

    def __str__(self) -> str:
        return "!" * self.negated + self.flag


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldTerm:
    """A field and the alternatives for its value."""

    name: str
    conditions: tuple[Condition, ...]
    negated: bool = False

    def matches(self, cell: Mapping[str, Any]) -> bool:
        """Return whether one condition holds for one value (none for any, when negated)."""
        if self.name not in cell:
            raise ScenarioError(f"cannot select by {self.name!r}: the record has no such field")
        value = cell[self.name]
        values = value if isinstance(value, (list, tuple, set, frozenset)) else (value,)
        found = any(condition.matches(item) for item in values for condition in self.conditions)
        return found is not self.negated

    def __str__(self) -> str:
        return "!" * self.negated + f"{self.name}:{','.join(map(str, self.conditions))}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """A predicate over a flat mapping; `str` gives the text back, with canonical field names."""

    terms: tuple[FieldTerm | FlagTerm, ...] = ()

    def matches(self, cell: Mapping[str, Any]) -> bool:
        """Return whether all terms hold.

        Raises:
            ScenarioError: the mapping lacks a field that a term names.
        """
        return all(term.matches(cell) for term in self.terms)

    def select(self, cells: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the mappings that match, in order."""
        return [cell for cell in cells if self.matches(cell)]

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))


def parse_selection(text: str, vocabulary: Vocabulary = CELL_VOCABULARY) -> Selection:
    """Return the selection that a text describes.

    Raises:
        ScenarioError: an unknown field, flag or word (with the nearest valid one), or a malformed term.
    """
    rest = _TOKEN.sub("", text)
    if rest.strip():
        raise ScenarioError(f"selection {text!r} has a quote that does not end")
    return Selection(terms=tuple(_term(token, vocabulary) for token in _TOKEN.findall(text)))


def _term(token: str, vocabulary: Vocabulary) -> FieldTerm | FlagTerm:
    head = _HEAD.fullmatch(token)
    if head is None:
        raise ScenarioError(f"cannot read {token!r}; write field:value, a flag, or ! before either")
    negated, word, rest = bool(head["negated"]), head["name"], head["rest"]
    if rest is None:
        flag = word.replace("-", "_")
        if flag not in vocabulary.flags:
            fields = [f"{name}:" for name in vocabulary.fields]
            raise ScenarioError(f"unknown flag {word!r}{nearest(word, (*vocabulary.flags, *fields))}")
        return FlagTerm(flag=flag, negated=negated)
    name = vocabulary.canonical(word)
    field = vocabulary.fields[name]
    conditions = tuple(_condition(name, field, part) for part in _alternatives(token, rest[1:]))
    return FieldTerm(name=name, conditions=conditions, negated=negated)


def _alternatives(token: str, text: str) -> list[re.Match[str]]:
    parts, at = [], 0
    while (part := _ALTERNATIVE.match(text, at)) is not None:
        parts.append(part)
        at = part.end()
        if at == len(text):
            return parts
        if text[at] != ",":
            break
        at += 1
    raise ScenarioError(f"cannot read {token!r}; write values with commas between them, quoted where needed")


def _condition(name: str, field: Field, part: re.Match[str]) -> Condition:
    if part["quoted"] is not None:
        text = re.sub(r"\\(.)", r"\1", part["quoted"], flags=re.DOTALL)
        if field.kind is not FieldKind.TEXT:
            _require_choice(name, field, text)
        return Text(text=text)
    text = part["bare"]
    if field.kind is FieldKind.NUMBER and text not in field.choices:
        return _numeric(name, text)
    if field.kind is not FieldKind.TEXT:
        _require_choice(name, field, text)
    elif text[0] in "<>":
        raise ScenarioError(f"{name} holds text, so {text!r} compares nothing; quote it if it is a text")
    return Text(text=text)


def _require_choice(name: str, field: Field, text: str) -> None:
    if field.kind is FieldKind.NUMBER and text not in field.choices:
        raise ScenarioError(f"{name} holds numbers, not {text!r}")
    if not any(Text(text=text).matches(choice) for choice in field.choices):
        raise ScenarioError(f"{name} has no value {text!r}{nearest(text, field.choices)}")


def _numeric(name: str, text: str) -> Condition:
    low, dots, high = text.partition("..")
    if dots and bool(low) is not bool(high):
        return Compare(sign=">=" if low else "<=", number=_number(name, low or high))
    if dots:
        between = Between(low=_number(name, low), high=_number(name, high))
        if between.low > between.high:
            raise ScenarioError(f"{name}:{text} is an empty range; write {high}..{low}")
        return between
    compared = _COMPARED.fullmatch(text)
    assert compared is not None, "the pattern matches every text"
    return Compare(sign=compared[1], number=_number(name, compared[2]))


def _number(name: str, text: str) -> Number:
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise ScenarioError(f"{name} holds numbers, not {text!r}; write 4, >1, <=8, 2..8")
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,300}", text) else float(text)
