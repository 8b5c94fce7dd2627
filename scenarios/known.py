"""Deviations that are known and accepted for a time: `known_deviations.toml`."""

from __future__ import annotations

import fnmatch
import math
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version
from pydantic import Field

from .border import FileModel, SchemaOne, named_tables, parse_toml, read_toml, validated
from .formula import Formula, parse_formula
from .scenario import ScenarioError
from .selection import Selection, parse_selection
from .vocabulary import SCENARIO_VOCABULARY

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["KNOWN_FILE", "LONGEST_LIFE", "WARNED_BEFORE", "KnownDeviation", "load_known", "parse_known"]

KNOWN_FILE = Path(__file__).parent / "known_deviations.toml"
LONGEST_LIFE = timedelta(days=180)
"""after which somebody must look again"""
_DECIMALS = 9
"""a ratio that a rule reports is rounded so: one third is found by the formula `1 / R` too"""
WARNED_BEFORE = timedelta(days=14)
"""from then on every report says that an entry is about to expire"""


class KnownTable(FileModel):
    """A `[[known]]` table."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    rule: str = Field(min_length=1)
    subject: str = Field(min_length=1)
    versions: list[str] = Field(default_factory=list)
    where: str
    when: str | None = Field(default=None, min_length=1)
    got: str | None = Field(default=None, min_length=1)
    got_formula: str | None = Field(default=None, min_length=1)
    reason: str = Field(min_length=1)
    upstream: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    added: date
    expires: date


class KnownFile(FileModel):
    """The top level of the file."""

    schema_: SchemaOne = Field(alias="schema")
    known: list[dict[str, Any]] = Field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownDeviation:
    """One entry.

    Attributes:
        id: its name.
        rule: the rule that is broken.
        subject: the subject, a glob over subjects (`unsloth-zoo@2024.*`), or several of them, with spaces between.
        versions: package requirements, all of which the environment must meet.
        where: the scenarios in which it is known, by their fields.
        when: a condition on the contract's symbols that the scenario must also meet, such as `M % A > 0`.
        got: the exact wrong value as text; None accepts any (or see `got_formula`).
        got_formula: the wrong value as a formula.
        reason: why it happens and why it is accepted.
        upstream: where it is reported.
        owner: who looks after it.
        added: when it was entered.
        expires: the last day on which it counts.
    """

    id: str
    rule: str
    subject: str
    versions: tuple[Requirement, ...]
    where: Selection
    when: Formula | None
    got: str | None
    got_formula: Formula | None
    reason: str
    upstream: str
    owner: str
    added: date
    expires: date

    def covers(
        self,
        *,
        rule: str,
        subject: str,
        scenario: Mapping[str, Any],
        packages: Mapping[str, str],
        numbers: Mapping[str, float | None],
    ) -> bool:
        """Return whether a deviation of this rule in this cell is the one meant; the value is not looked at.

        Args:
            rule: the broken rule.
            subject: the subject of the cell.
            scenario: the fields of its scenario as plain values.
            packages: distribution name to installed version.
            numbers: what `when` names: scenario fields and contract symbols.

        Raises:
            ScenarioError: a version that is no version.
        """
        return (
            rule == self.rule
            and any(
                fnmatch.fnmatchcase(subject.partition("[")[0], pattern) for pattern in self.subject.split()
            )
            and all(_meets(requirement, packages) for requirement in self.versions)
            and self.where.matches(scenario)
            and (self.when is None or bool(self.when.value(numbers)))
        )

    def agrees(self, got: str | float, numbers: Mapping[str, float | None], within: float = 0.0) -> bool:
        """Return whether the wrong value is the known one; False means that the deviation has drifted.

        Args:
            got: what the rule saw, a number where a formula is to be compared.
            numbers: what the formula names: scenario fields, contract symbols, `expected`.
            within: how exactly the rule knows a number, as a share of it.

        Raises:
            ScenarioError: the formula needs a number that is not there.
        """
        if self.got is not None:
            return str(got) == self.got
        if self.got_formula is None:
            return True
        if isinstance(got, str):
            return False
        value = self.got_formula.value(numbers)
        return got in (value, round(float(value), _DECIMALS)) or math.isclose(got, value, rel_tol=within)

    def is_expired(self, today: date) -> bool:
        """Return whether the entry no longer counts."""
        return today > self.expires

    def expires_soon(self, today: date) -> bool:
        """Return whether the entry still counts, but not for long."""
        return today <= self.expires <= today + WARNED_BEFORE


def load_known(
    path: Path = KNOWN_FILE, *, rules: Collection[str] | None = None
) -> tuple[KnownDeviation, ...]:
    """Return the entries of a file of known deviations.

    Args:
        path: the file.
        rules: the rules that exist; None checks no rule names.

    Raises:
        ScenarioError: what is wrong, with file, entry, value and the nearest valid name.
    """
    return _entries(read_toml(path), where=path.name, rules=rules)


def parse_known(text: str, *, where: str, rules: Collection[str] | None = None) -> tuple[KnownDeviation, ...]:
    """Return the entries of the text of such a file; `where` names it in messages.

    Raises:
        ScenarioError: as `load_known`.
    """
    return _entries(parse_toml(text, where=where), where=where, rules=rules)


def _entries(
    tables: Mapping[str, Any], *, where: str, rules: Collection[str] | None
) -> tuple[KnownDeviation, ...]:
    file = validated(KnownFile, tables, where=where)
    entries = []
    for place, table in named_tables(KnownTable, file.known, what="entry", where=where, rules=rules):
        try:
            entries.append(_entry(table))
        except ScenarioError as error:
            raise ScenarioError(f"{place}: {error}") from None
    return tuple(entries)


def _entry(table: KnownTable) -> KnownDeviation:
    if table.got is not None and table.got_formula is not None:
        raise ScenarioError(f"got = {table.got!r} and got_formula = {table.got_formula!r}; write one of them")
    if not table.added <= table.expires <= table.added + LONGEST_LIFE:
        raise ScenarioError(
            f"expires = {table.expires} must lie within {LONGEST_LIFE.days} days after added = {table.added}"
        )
    return KnownDeviation(
        **{name: getattr(table, name) for name in _COPIED},
        versions=tuple(_requirement(text) for text in table.versions),
        where=parse_selection(table.where, SCENARIO_VOCABULARY),
        when=None if table.when is None else parse_formula(table.when),
        got_formula=None if table.got_formula is None else parse_formula(table.got_formula),
    )


_COPIED = ("id", "rule", "subject", "got", "reason", "upstream", "owner", "added", "expires")


def _requirement(text: str) -> Requirement:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise ScenarioError(f"versions has {text!r}: {' '.join(str(error).split())}") from None
    if not requirement.specifier or requirement.extras or requirement.url or requirement.marker:
        raise ScenarioError(f"versions has {text!r}; write a package and a range: 'transformers>=5.0,<6'")
    return requirement


def _meets(requirement: Requirement, packages: Mapping[str, str]) -> bool:
    installed = packages.get(requirement.name)
    if installed is None:
        return False
    try:
        return requirement.specifier.contains(Version(installed), prereleases=True)
    except InvalidVersion:
        raise ScenarioError(f"{requirement.name} has version {installed!r}, which is no version") from None
