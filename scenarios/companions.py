"""Which releases go together: the companions of a release that its own metadata do not name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import Field

from .border import FileModel, SchemaOne, read_toml, validated
from .scenario import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COMPANIONS_FILE", "Companions", "companions_of", "load_companions"]

COMPANIONS_FILE = Path(__file__).parent / "companions.toml"


class CompanionsTable(FileModel):
    """One entry: `with` goes with every release of `package` in `versions`."""

    package: str = Field(min_length=1)
    versions: str = Field(min_length=1)
    with_: list[str] = Field(alias="with", min_length=1)


class CompanionsFile(FileModel):
    """The top level of the file."""

    schema_: SchemaOne = Field(alias="schema")
    companions: list[dict[str, Any]] = Field(min_length=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Companions:
    """What goes with some releases of a package.

    Attributes:
        package: distribution name, in its normal form.
        versions: the releases that are meant.
        pins: distribution name to version of what goes with them.
    """

    package: str
    versions: SpecifierSet
    pins: Mapping[str, str]


def load_companions(path: Path = COMPANIONS_FILE) -> tuple[Companions, ...]:
    """Return the entries of a file.

    Raises:
        ScenarioError: what is wrong, with file, entry and value.
    """
    file = validated(CompanionsFile, read_toml(path), where=path.name)
    return tuple(
        _entry(validated(CompanionsTable, raw, where=f"{path.name}: entry {number}"), path.name, number)
        for number, raw in enumerate(file.companions, start=1)
    )


def companions_of(pins: Mapping[str, str], entries: tuple[Companions, ...] | None = None) -> dict[str, str]:
    """Return what goes with these releases and is not among them, and what goes with that in turn.

    Args:
        pins: distribution name, in its normal form, to version.
        entries: the entries to look in; None for the committed ones.
    """
    known = _committed() if entries is None else entries
    found: dict[str, str] = {}
    waiting = list(pins.items())
    while waiting:
        package, version = waiting.pop(0)
        for name, companion in _of_one(package, version, known).items():
            if name not in pins and name not in found:
                found[name] = companion
                waiting.append((name, companion))
    return found


@cache
def _committed() -> tuple[Companions, ...]:
    return load_companions()


def _of_one(package: str, version: str, entries: tuple[Companions, ...]) -> Mapping[str, str]:
    try:
        release = Version(version)
    except InvalidVersion:
        return {}
    for entry in entries:
        if entry.package == package and entry.versions.contains(release, prereleases=True):
            return entry.pins
    return {}


def _entry(table: CompanionsTable, file: str, number: int) -> Companions:
    where = f"{file}: entry {number}"
    try:
        versions = SpecifierSet(table.versions)
    except InvalidSpecifier:
        raise ScenarioError(
            f"{where}: versions = {table.versions!r} is no range like '>=4.45,<4.46'"
        ) from None
    pins: dict[str, str] = {}
    for pin in table.with_:
        name, equals, version = pin.partition("==")
        try:
            pins[name] = str(Version(version))
        except InvalidVersion:
            equals = ""
        if not equals or not name:
            raise ScenarioError(f"{where}: with has {pin!r}; write an exact release: 'accelerate==1.0.1'")
    return Companions(package=table.package, versions=versions, pins=pins)
