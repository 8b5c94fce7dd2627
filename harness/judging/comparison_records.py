"""What a comparison of two runs says, as written to `compare.json`: pydantic models."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "CellComparison",
    "Change",
    "Comparison",
    "ComparisonCounts",
    "Difference",
    "EnvironmentDifference",
    "Side",
]


class Change(StrEnum):
    """What became of a cell from run A to run B, the most urgent first."""

    NEW = "new"
    DRIFTED = "drifted"
    ONLY_A = "only in A"
    ONLY_B = "only in B"
    NOT_JUDGED = "not judged"
    FIXED = "fixed"
    UNCHANGED = "unchanged"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="strings")


class Side(_Model):
    """One of the two runs."""

    source: str
    subject: str | None = Field(description="the one subject that was looked at; null: all, paired by name")
    command: str
    suite: str
    started: str
    exit_code: int


class EnvironmentDifference(_Model):
    """Something that the two runs did not have in common; null where one of them does not have it."""

    name: str
    a: str | None
    b: str | None


class Difference(_Model):
    """One thing that differs in a cell."""

    what: str = Field(description="rule NAME, observed FIGURE, claimed FIGURE, loss, gradient norm, …")
    a: str
    b: str


class CellComparison(_Model):
    """One cell of both runs, or of one."""

    change: Change
    compared: bool = Field(description="whether it was judged in both runs")
    subject_a: str | None
    subject_b: str | None
    id_a: str | None
    id_b: str | None
    label: str
    scenario: dict[str, Any]
    differences: list[Difference]
    curves: dict[str, str] = Field(
        description="curve to `=` (the same numbers), `~` (within the rounding noise), `≠` or why it is not compared"
    )
    reproduce: str


class ComparisonCounts(_Model):
    """How many cells; `compared` were judged in both runs."""

    compared: int
    new: int
    drifted: int
    only_a: int
    only_b: int
    not_judged: int
    fixed: int
    unchanged: int


class Comparison(_Model):
    """Run A and run B."""

    schema_version: Literal[1] = 1
    exit_code: int
    sentence: str
    a: Side
    b: Side
    environment: list[EnvironmentDifference]
    counts: ComparisonCounts
    cells: list[CellComparison] = Field(description="the most urgent first")
