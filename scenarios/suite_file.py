"""The TOML form of a suite: explicit scenarios and sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from .axes import Axis, legal_base
from .border import FileModel, SchemaOne, validated
from .boundary import BOUNDARY_AXES, boundary
from .covering import covering
from .grid import grid
from .sampling import RANDOM_AXES, sample
from .scenario import ScenarioError, nearest

if TYPE_CHECKING:
    from .sweep import Sweep

__all__ = ["SuiteFile", "axes_of", "subjects_of", "sweep_of"]


class SuiteFile(FileModel):
    """The top level of a suite file; `defaults` are the fields that a `scenario` table leaves out."""

    schema_: SchemaOne = Field(alias="schema")
    title: str = Field(min_length=1)
    subjects: list[str] = Field(min_length=1)
    contract: str | None = Field(default=None, min_length=1)
    axes: dict[str, list[Any]] = Field(default_factory=dict)
    defaults: dict[str, Any] = Field(default_factory=dict)
    scenario: list[dict[str, Any]] = Field(default_factory=list)
    sweep: list[dict[str, Any]] = Field(default_factory=list)
    environment: list[dict[str, Any]] = Field(default_factory=list)


class EnvironmentFile(FileModel):
    """An `[[environment]]` table: exact releases that are laid over the base for a subject of the suite."""

    subject: str = Field(min_length=1)
    with_: list[str] = Field(alias="with", min_length=1)
    python: str | None = Field(default=None, pattern=r"^3\.\d+$")


class SweepFile(FileModel):
    """A `[[sweep]]` table."""

    kind: Literal["grid", "covering", "boundary", "random"]
    axes: dict[str, list[Any]] = Field(default_factory=dict)
    base: dict[str, Any] = Field(default_factory=dict)
    strength: int | None = None
    seed: int | None = None
    count: int | None = None


_TAKES = {
    "grid": {"kind", "axes", "base"},
    "covering": {"kind", "axes", "base", "strength", "seed"},
    "boundary": {"kind", "axes", "base"},
    "random": {"kind", "axes", "base", "seed", "count"},
}
_NEEDS = {"grid": {"axes"}, "covering": {"axes"}, "boundary": set[str](), "random": {"seed", "count"}}


def subjects_of(file: SuiteFile, *, where: str) -> tuple[str, ...]:
    """Return the subjects, each that an environment is for once an environment: `hf[transformers==4.45.2]`.

    Raises:
        ScenarioError: a blank subject, one twice, or an environment for a subject that is not in the list.
    """
    for subject in file.subjects:
        if not subject.strip() or file.subjects.count(subject) > 1:
            why = "twice" if subject.strip() else "in it"
            raise ScenarioError(f"{where}: subjects has {subject!r} {why}")
    laid: dict[str, list[str]] = {}
    for number, raw in enumerate(file.environment, start=1):
        table = validated(EnvironmentFile, raw, where=f"{where}: environment {number}")
        if table.subject not in file.subjects:
            raise ScenarioError(
                f"{where}: environment {number}: subject {table.subject!r} is not among the suite's"
                f"{nearest(table.subject, file.subjects)}"
            )
        pins = [*table.with_, *([f"python=={table.python}"] if table.python else [])]
        laid.setdefault(table.subject, []).append(f"{table.subject}[{','.join(pins)}]")
    return tuple(name for subject in file.subjects for name in laid.get(subject, [subject]))


def axes_of(table: dict[str, list[Any]], *, where: str) -> tuple[Axis, ...]:
    """Return the axes of a table `name = [value, ...]`.

    Raises:
        ScenarioError: an unknown axis, no values, a value twice or an illegal one.
    """
    try:
        return tuple(Axis(name=name, values=tuple(values)) for name, values in table.items())
    except ScenarioError as error:
        raise ScenarioError(f"{where}: {error}") from None


def sweep_of(table: dict[str, Any], *, where: str) -> Sweep:
    """Return the sweep that a `[[sweep]]` table describes.

    Raises:
        ScenarioError: an unknown, missing or idle key, or what the kind of sweep refuses.
    """
    file = validated(SweepFile, table, where=where)
    for name, value in table.items():
        if name not in _TAKES[file.kind]:
            raise ScenarioError(f"{where}: kind {file.kind!r} takes no {name} = {value!r}")
    for name in sorted(_NEEDS[file.kind]):
        if name not in table:
            raise ScenarioError(f"{where}: kind {file.kind!r} needs {name}")
    axes = axes_of(file.axes, where=f"{where}: axes")
    base = legal_base(file.base, where=f"{where}: base")
    for axis in axes:
        if axis.name in base:
            raise ScenarioError(f"{where}: {axis.name} is an axis and in base ({base[axis.name]!r})")
    try:
        if file.kind == "grid":
            return grid(axes, base=base)
        if file.kind == "covering":
            strength = 2 if file.strength is None else file.strength
            return covering(axes, strength=strength, base=base, seed=file.seed or 0)
        if file.kind == "boundary":
            return boundary(axes or tuple(a for a in BOUNDARY_AXES if a.name not in base), base=base)
        free = tuple(axis for axis in RANDOM_AXES if axis.name not in base)
        return sample(count=file.count or 0, seed=file.seed or 0, axes=axes or free, base=base)
    except ScenarioError as error:
        raise ScenarioError(f"{where}: {error}") from None
