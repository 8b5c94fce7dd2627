"""The verdict of a run, as written to `verdict.json`: pydantic models with a published JSON Schema."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "SCHEMA_VERSION",
    "Books",
    "CellOutcome",
    "CellVerdict",
    "Cluster",
    "Counts",
    "Deviation",
    "Divergence",
    "Environment",
    "Example",
    "ExitCode",
    "Figures",
    "RuleSummary",
    "StaleEntry",
    "Standing",
    "Trouble",
    "Verdict",
    "VerdictOutcome",
]

SCHEMA_VERSION = 1


class ExitCode(IntEnum):
    """What the process returns (DESIGN: verdicts, gate, exit codes)."""

    PASSED = 0
    VIOLATED = 1
    USAGE = 2
    NOT_JUDGED = 3
    NOTHING = 4
    INTERRUPTED = 130


class CellOutcome(StrEnum):
    """The verdict on one cell."""

    CONFORMS = "conforms"
    DEVIATES = "deviates"
    FLAKY = "flaky"
    ERROR = "error"
    UNSUPPORTED = "unsupported"


class Standing(StrEnum):
    """How a deviation stands to the known deviations."""

    NEW = "new"
    KNOWN = "known"
    DRIFTED = "drifted"
    EXPIRED = "expired"


class VerdictOutcome(StrEnum):
    """The sentence over the whole run."""

    PASSED = "passed"
    VIOLATED = "violated"
    NOT_JUDGED = "not judged"
    NOTHING = "nothing compared"
    INTERRUPTED = "interrupted"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="strings")


class Figures(_Model):
    """The counted side of one account; None where the witness does not say."""

    optimizer_steps: int | None = None
    micro_batches: int | None = None
    scheduler_steps: int | None = None
    skipped_steps: int | None = None
    epochs: float | None = None
    label_tokens: int | None = None
    planned_steps: int | None = None


class Books(_Model):
    """The three accounts of a cell, and the reference's where it ran the same scenario."""

    observed: Figures
    claimed: Figures
    expected: Figures
    reference: Figures | None = None


class Divergence(_Model):
    """The first event at which the books part."""

    event: int | None = Field(
        description="0-based position in the ledger; null when an expected event is missing"
    )
    update: int | None = Field(description="1-based number of the optimizer step concerned, if one is")
    text: str = Field(description="what the event is, for people")


class Deviation(_Model):
    """One broken rule of one cell."""

    rule: str
    expected: str
    got: str
    formula: str = Field(description="the contract's formula with the cell's numbers filled in")
    first_divergence: Divergence
    reproduce: str = Field(description="one command that shows it again")
    standing: Standing
    known_id: str | None = None


class Trouble(_Model):
    """Why a cell was not judged: trouble of ours or a crash, never a finding about the subject's accounting."""

    kind: str
    message: str
    traceback: str = ""


class CellVerdict(_Model):
    """One cell: what was asked, what the three accounts say, what is wrong."""

    id: str
    subject: str
    contract: str
    verdict: CellOutcome
    scenario: dict[str, Any]
    label: str
    account: Books | None
    rules_checked: list[str]
    rules_unsupported: dict[str, str] = Field(description="rule id to the reason why it could not be judged")
    deviations: list[Deviation]
    error: Trouble | None = None
    reason: str = Field(default="", description="why the pairing is unsupported")
    seconds: float
    reproduce: str


class Example(_Model):
    """One failing cell of a cluster."""

    cell_id: str
    label: str
    expected: str
    got: str


class Cluster(_Model):
    """Deviations of one rule by one subject, shown as one."""

    rule: str
    statement: str
    subject: str
    standing: Standing
    known_id: str | None
    reason: str = Field(description="the reason of the known deviation, empty otherwise")
    upstream: str | None
    failing: int
    judged: int
    cell_ids: list[str]
    smallest: str = Field(description="id of the smallest failing cell")
    label: str
    expected: str
    got: str
    formula: str
    first_divergence: Divergence
    reproduce: str
    largest: Example | None = Field(description="the largest failing cell, where it is not the smallest")


class RuleSummary(_Model):
    """One rule over the whole run."""

    rule: str
    statement: str
    formula: str = Field(description="the formula in symbols")
    checked: int
    deviating: int
    unsupported: int


class StaleEntry(_Model):
    """A known deviation that no longer shows, has expired, or drifted; each fails the gate."""

    known_id: str
    standing: str = Field(description="stale or expired")
    text: str
    cell_ids: list[str]


class Counts(_Model):
    """How many cells ended how, and how many deviations stand how."""

    cells: int
    executed: int
    from_store: int
    conforms: int
    deviates: int
    new: int
    known: int
    drifted: int
    stale: int
    expired: int
    flaky: int
    unsupported: int
    not_judged: int
    repeated: int = Field(description="cells that were also run in a fresh process and compared")
    pairs_covered: int | None = None
    pairs_total: int | None = None


class Environment(_Model):
    """Where the run was made."""

    stepaudit: str
    python: str
    platform: str
    device: str
    packages: dict[str, str]


class Verdict(_Model):
    """The whole run."""

    schema_version: int = SCHEMA_VERSION
    exit_code: int
    outcome: VerdictOutcome
    sentence: str = Field(description="the verdict in one sentence, for people")
    command: str
    suite: str
    started: str
    seconds: float
    counts: Counts
    environment: Environment
    contracts: dict[str, str] = Field(
        description="contract name to its title, for every contract that judged a cell"
    )
    clusters: list[Cluster]
    stale: list[StaleEntry]
    rules: list[RuleSummary]
    cells: list[CellVerdict]
