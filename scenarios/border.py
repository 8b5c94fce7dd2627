"""Reads TOML files strictly: whatever is wrong becomes one line: file, section, value, nearest name."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from .scenario import ScenarioError, nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

__all__ = ["FileModel", "SchemaOne", "named_tables", "parse_toml", "read_text", "read_toml", "validated"]

_Model = TypeVar("_Model", bound=BaseModel)


def _one(value: Any) -> int:
    if type(value) is not int or value != 1:
        raise ValueError(f"has no value {value!r}; valid: 1")
    return value


SchemaOne = Annotated[int, BeforeValidator(_one)]
"""The `schema` key of a file; `Literal[1]` would take true for 1."""


class FileModel(BaseModel):
    """A table of a file: strict types, no unknown key."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        ScenarioError: the file cannot be read or is no TOML.
    """
    return parse_toml(read_text(path), where=str(path))


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        ScenarioError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ScenarioError(f"{path}: no such file") from None
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: is not UTF-8 at byte {error.start}") from None


def parse_toml(text: str, *, where: str) -> dict[str, Any]:
    """Return the tables of a TOML text; `where` names it in messages.

    Raises:
        ScenarioError: it is no TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{where}: is not TOML: {' '.join(str(error).split())}") from None


def validated(model: type[_Model], table: Mapping[str, Any], *, where: str) -> _Model:
    """Return a table as a model.

    Args:
        model: a `FileModel` whose fields hold plain values, lists and dictionaries.
        table: what the file says.
        where: file and section, for the message.

    Raises:
        ScenarioError: the first thing that is wrong; further ones are counted.
    """
    try:
        return model.model_validate(dict(table))
    except ValidationError as error:
        details = error.errors(include_url=False)
        first, more = _message(model, details[0]), len(details) - 1
        raise ScenarioError(f"{where}: {first}" + (f" (and {more} more)" if more else "")) from None


def named_tables(
    model: type[_Model],
    tables: Iterable[Mapping[str, Any]],
    *,
    what: str,
    where: str,
    rules: Collection[str] | None,
) -> Iterator[tuple[str, _Model]]:
    """Yield the tables of an array as models, each with its place for messages: file, number and id.

    Args:
        model: a `FileModel` with two strings among its fields: `id`, which no two tables share, and `rule`.
        tables: what the file says.
        what: what one of them is called.
        where: the file.
        rules: the rules that exist; None checks no rule names.

    Raises:
        ScenarioError: what is wrong, with the value and the nearest valid name.
    """
    seen: set[str] = set()
    for number, raw in enumerate(tables, start=1):
        label = f" ({raw['id']})" if isinstance(raw.get("id"), str) else ""
        place = f"{where}: {what} {number}{label}"
        table = validated(model, raw, where=place)
        name, rule = raw["id"], raw["rule"]
        if name in seen:
            raise ScenarioError(f"{place}: id {name!r} is used by an earlier {what}")
        if rules is not None and rule not in rules:
            raise ScenarioError(f"{place}: unknown rule {rule!r}{nearest(rule, rules)}")
        seen.add(name)
        yield place, table


def _message(model: type[BaseModel], detail: ErrorDetails) -> str:
    path = ""
    for part in detail["loc"]:
        path += f" {part + 1}" if isinstance(part, int) else f".{part}" if path else part
    value, kind = detail["input"], detail["type"]
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    if kind == "extra_forbidden":
        return f"unknown key {path!r} = {_short(value)}{nearest(path, fields)}"
    if kind == "missing":
        return f"key {path!r} is missing"
    if kind == "literal_error":
        choices = [word for word in get_args(fields[str(detail["loc"][0])].annotation) if word is not None]
        return f"{path} has no value {_short(value)}{nearest(str(value), choices)}"
    if kind == "value_error":
        return f"{path} {detail['ctx']['error']}"
    return f"{path} = {_short(value)}: {detail['msg'][0].lower()}{detail['msg'][1:]}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
