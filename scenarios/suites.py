"""Named lists of scenarios: those committed beside this module, and a user's own files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .axes import legal_base
from .border import read_toml, validated
from .coverage import Coverage, coverage_of
from .grid import cross
from .scenario import Scenario, ScenarioError, nearest, scenario_from_mapping
from .suite_file import SuiteFile, axes_of, subjects_of, sweep_of
from .sweep import Sweep, distinct

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from .axes import Axis

__all__ = ["Suite", "load_suite", "suite_names"]

_FOLDER = Path(__file__).parent / "suites"


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """What is run together.

    Attributes:
        name: name of the committed suite, or stem of the file.
        title: one line for people.
        subjects: the loops it is run with unless told otherwise.
        scenarios: distinct scenarios, in order.
        axes: what the suite promises to cover, all pairs of it; empty where it promises nothing.
        contract: the contract to judge by, where it is not the subject's own.
        sweeps: the account of each `[[sweep]]`: kinds, exclusions, coverage.
        merged: how many duplicates were merged.
    """

    name: str
    title: str
    subjects: tuple[str, ...]
    scenarios: tuple[Scenario, ...]
    axes: tuple[Axis, ...] = ()
    contract: str | None = None
    sweeps: tuple[Sweep, ...] = ()
    merged: int = 0

    def __post_init__(self) -> None:
        if not self.scenarios:
            raise ScenarioError(f"suite {self.name!r} has no scenarios")

    def coverage(self, strength: int = 2) -> Coverage | None:
        """Count what the scenarios cover of the promised axes; None where nothing is promised."""
        if not self.axes:
            return None
        return coverage_of(self.scenarios, self.axes, strength=strength)

    def crossed(self, axes: Iterable[Axis]) -> Suite:
        """Return the suite with every scenario over every combination of these axis values.

        The promise of coverage is dropped: its axes may have lost values. `sweeps` counts what was left out.
        """
        sweep = cross(self.scenarios, tuple(axes))
        return replace(self, scenarios=sweep.scenarios, axes=(), sweeps=(*self.sweeps, sweep))

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for people: how each sweep came out, the coverage, and what was merged."""
        lines = [sweep.summary for sweep in self.sweeps]
        coverage = self.coverage()
        if coverage is not None:
            lines.append(str(coverage))
            lines += [f"{count} pairs impossible: {reason}" for reason, count in coverage.invalid.items()]
        if self.merged:
            lines.append(f"{self.merged} duplicates merged in all")
        return tuple(lines)


def suite_names() -> tuple[str, ...]:
    """Return the names of the committed suites."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_suite(name_or_path: str | os.PathLike[str]) -> Suite:
    """Return a committed suite by its name, or the suite of a file (a path, or a text that ends in `.toml`).

    Raises:
        ScenarioError: an unknown name, a file that cannot be read, or anything in it that is not understood.
    """
    if isinstance(name_or_path, str) and not name_or_path.endswith(".toml"):
        if name_or_path not in suite_names():
            raise ScenarioError(
                f"unknown suite {name_or_path!r}{nearest(name_or_path, suite_names())} (a file ends in .toml)"
            )
        return _read(_FOLDER / f"{name_or_path}.toml")
    return _read(Path(name_or_path))


def _read(path: Path) -> Suite:
    where = path.name
    file = validated(SuiteFile, read_toml(path), where=where)
    defaults = legal_base(file.defaults, where=f"{where}: defaults")
    listed = [
        scenario_from_mapping(defaults | table, where=f"{where}: scenario {number}")
        for number, table in enumerate(file.scenario, start=1)
    ]
    sweeps = tuple(
        sweep_of(table, where=f"{where}: sweep {number}") for number, table in enumerate(file.sweep, start=1)
    )
    scenarios, merged = distinct([*listed, *(item for sweep in sweeps for item in sweep.scenarios)])
    if not scenarios:
        raise ScenarioError(f"{where}: has no scenario and no sweep")
    suite = Suite(
        name=path.stem,
        title=file.title,
        subjects=subjects_of(file, where=where),
        scenarios=scenarios,
        axes=axes_of(file.axes, where=f"{where}: axes"),
        contract=file.contract,
        sweeps=sweeps,
        merged=merged + sum(sweep.merged for sweep in sweeps),
    )
    try:
        suite.coverage()
    except ScenarioError as error:
        raise ScenarioError(f"{where}: axes: {error}") from None
    return suite
