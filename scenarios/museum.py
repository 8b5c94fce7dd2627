"""The museum: real releases with known wrong accounting, each beside the release that mended it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from .axes import legal_base
from .border import FileModel, SchemaOne, named_tables, parse_toml, read_text, read_toml, validated
from .scenario import Scenario, ScenarioError, nearest, scenario_from_mapping
from .suites import Suite

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["MUSEUM", "MUSEUM_FILE", "Exhibit", "Museum", "load_museum", "museum_path", "parse_museum"]

MUSEUM = "museum"
"""the name that stands for the committed museum among the suites"""
MUSEUM_FILE = Path(__file__).parent / "museum.toml"


class ExhibitTable(FileModel):
    """An `[[exhibit]]` table."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    project: str = Field(min_length=1)
    title: str = Field(min_length=1)
    rule: str = Field(min_length=1)
    bad: str = Field(min_length=1)
    fixed: str = Field(min_length=1)
    scenario: dict[str, Any]
    got: str = Field(min_length=1)
    contract: str | None = Field(default=None, min_length=1)
    story: str = Field(min_length=1)
    upstream: str = Field(pattern=r"^https://\S+$")


class MuseumFile(FileModel):
    """The top level of the file; `defaults` are the fields that a `scenario` table leaves out."""

    schema_: SchemaOne = Field(alias="schema")
    title: str = Field(min_length=1)
    defaults: dict[str, Any] = Field(default_factory=dict)
    exhibit: list[dict[str, Any]] = Field(min_length=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Exhibit:
    """One fault, in the smallest scenario that shows it.

    Attributes:
        id: its name.
        project: the distribution whose releases are shown.
        title: the fault in one line.
        rule: the rule that the bad release breaks and the fixed one keeps.
        bad: the subject with the bad release: `hf[transformers==4.26.1]`.
        fixed: the subject with the release that mended it.
        scenario: what both are asked for.
        got: what the bad release is seen to do, as the rule tells it; another value is a drift.
        contract: what both are judged by; None for the contract of each.
        story: what went wrong, in a sentence or two.
        upstream: the issue or the fix.
    """

    id: str
    project: str
    title: str
    rule: str
    bad: str
    fixed: str
    scenario: Scenario
    got: str
    contract: str | None
    story: str
    upstream: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Museum:
    """All exhibits of a file, in order."""

    name: str
    title: str
    exhibits: tuple[Exhibit, ...]
    text: str

    def of(self, names: Collection[str]) -> Museum:
        """Return the exhibits of these projects or subjects, a subject with or without its release.

        Raises:
            ScenarioError: a name that no exhibit has; the message names the nearest.
        """
        own = {
            item.id: {item.project, item.bad, item.fixed, *map(_bare, (item.bad, item.fixed))}
            for item in self.exhibits
        }
        for name in names:
            if not any(name in known for known in own.values()):
                everyone = sorted({word for known in own.values() for word in known if "[" not in word})
                raise ScenarioError(f"the museum has no exhibit of {name!r}{nearest(name, everyone)}")
        kept = tuple(item for item in self.exhibits if own[item.id] & set(names))
        return replace(self, exhibits=kept)

    def pairs(self, subject: str, scenario: Scenario) -> bool:
        """Return whether an exhibit has this subject in this scenario."""
        return any(item.scenario == scenario and subject in {item.bad, item.fixed} for item in self.exhibits)

    def suite(self) -> Suite:
        """Return the subjects and scenarios as a suite; which belong together the exhibits say."""
        subjects = dict.fromkeys(name for item in self.exhibits for name in (item.bad, item.fixed))
        scenarios = dict.fromkeys(item.scenario for item in self.exhibits)
        return Suite(name=self.name, title=self.title, subjects=tuple(subjects), scenarios=tuple(scenarios))


def museum_path(name_or_path: str) -> Path | None:
    """Return the file of the committed museum, or a path whose file has exhibits; None for any other suite."""
    if name_or_path == MUSEUM:
        return MUSEUM_FILE
    if not name_or_path.endswith(".toml"):
        return None
    path = Path(name_or_path)
    return path if path.is_file() and "exhibit" in read_toml(path) else None


def load_museum(path: Path, *, rules: Collection[str] | None = None) -> Museum:
    """Return the museum of a file.

    Args:
        path: the file.
        rules: the rules that exist; None checks no rule names.

    Raises:
        ScenarioError: what is wrong, with file, exhibit, value and the nearest valid name.
    """
    text = read_text(path)
    return _museum(parse_toml(text, where=str(path)), text, name=path.stem, rules=rules)


def parse_museum(text: str, *, name: str, rules: Collection[str] | None = None) -> Museum:
    """Return the museum of the text of such a file.

    Raises:
        ScenarioError: as `load_museum`.
    """
    return _museum(parse_toml(text, where=f"{name}.toml"), text, name=name, rules=rules)


def _museum(tables: Mapping[str, Any], text: str, *, name: str, rules: Collection[str] | None) -> Museum:
    where = f"{name}.toml"
    file = validated(MuseumFile, tables, where=where)
    defaults = legal_base(file.defaults, where=f"{where}: defaults")
    exhibits = []
    for place, table in named_tables(ExhibitTable, file.exhibit, what="exhibit", where=where, rules=rules):
        if table.bad == table.fixed:
            raise ScenarioError(f"{place}: bad and fixed are the same: {table.bad!r}")
        exhibits.append(_exhibit(table, defaults, place))
    return Museum(name=name, title=file.title, exhibits=tuple(exhibits), text=text)


def _exhibit(table: ExhibitTable, defaults: Mapping[str, Any], where: str) -> Exhibit:
    values = table.model_dump(exclude={"scenario"})
    scenario = scenario_from_mapping({**defaults, **table.scenario}, where=f"{where}: scenario")
    return Exhibit(**values, scenario=scenario)


def _bare(subject: str) -> str:
    return subject.partition("[")[0].partition("@")[0]
