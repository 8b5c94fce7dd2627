"""The verdict of a run, as written to `verdict.json`: pydantic models with a published JSON Schema."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "SCHEMA_VERSION",
    "BookLine",
    "Books",
    "CellOutcome",
    "CellVerdict",
    "Cluster",
    "Counts",
    "Deviation",
    "Diagnosis",
    "Divergence",
    "Environment",
    "Example",
    "ExhibitVerdict",
    "ExitCode",
    "ExpiringEntry",
    "Figures",
    "GateTerms",
    "InferredFormula",
    "MissedFloor",
    "RuleSummary",
    "Shown",
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
    INFORMATIONAL = "informational"
    """not known, of a subject that the project's gate reports only"""

    @property
    def fails(self) -> bool:
        """Whether it fails the gate."""
        return self in {Standing.NEW, Standing.DRIFTED, Standing.EXPIRED}


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
    padding_rows: list[int] | None = Field(
        default=None,
        description="on several ranks: rows that were read again to fill the last round of an epoch",
    )


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


class InferredFormula(_Model):
    """What a figure really is, as far as the cells of the run tell, beside what the contract says."""

    figure: str = Field(description="what it gives, e.g. optimizer steps, or weight of a label token")
    formula: str = Field(description="in symbols")
    numbers: str = Field(description="with the numbers of one cell filled in; empty where there are none")
    label: str = Field(description="the scenario of that cell")
    where: list[str] = Field(description="what the derived symbols stand for, with their numbers")
    contract: str = Field(description="the contract's formula, with the numbers of the same cell")
    right: int = Field(description="cells on which it gives the figure; for weights, rows of updates")
    of: int
    rivals: list[str] = Field(description="other formulas that these cells do not tell from it")


class BookLine(_Model):
    """One line of both books, side by side."""

    key: str
    due: str
    seen: str
    differs: bool


class Diagnosis(_Model):
    """Why the cells of a cluster deviate, as far as the cells of the run tell by themselves."""

    interaction: str = Field(
        description="when it shows: conditions, and how many cells fail under them and elsewhere"
    )
    separates: bool = Field(description="whether exactly the failing cells meet the conditions")
    terms: list[str] = Field(description="what the derived symbols of the conditions stand for")
    formula: InferredFormula | None = Field(description="null where no formula gives the figure")
    books: list[BookLine] = Field(
        description="both books around the point where those of the smallest cell part"
    )
    before: int = Field(description="lines of the books that are left out above; `after` below")
    after: int
    note: str = Field(description="what of the diagnosis could not be made, and why; empty otherwise")


class Cluster(_Model):
    """Deviations of one rule by one subject, shown as one."""

    id: str = Field(default="", description="what `stepaudit baseline accept` takes; unique within the run")
    rule: str
    statement: str
    subject: str
    standing: Standing
    known_id: str | None
    reason: str = Field(description="the reason of the known deviation, empty otherwise")
    upstream: str | None
    owner: str | None = Field(default=None, description="who looks after the known deviation")
    expires: str | None = Field(default=None, description="the last day of the known deviation, ISO 8601")
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
    diagnosis: Diagnosis | None = Field(default=None, description="null where none was made")


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


class ExpiringEntry(_Model):
    """A known deviation that showed in this run and is about to expire: a warning, not a failure."""

    known_id: str
    expires: str = Field(description="the last day on which it counts, ISO 8601")
    days: int = Field(description="how many days are left; 0 on the last one")
    owner: str
    upstream: str
    text: str


class MissedFloor(_Model):
    """A term of the project's gate that this run does not meet; it fails the gate."""

    term: str = Field(description="min_cells, min_rules, max_known or max_unsupported")
    limit: int
    got: int
    text: str


class GateTerms(_Model):
    """What `[tool.stepaudit.gate]` of the project demands, and what of it is missed."""

    source: str = Field(description="the file, as it was found")
    min_cells: int | None = None
    min_rules: int | None = None
    max_known: int | None = None
    max_unsupported: int | None = None
    informational: list[str] = Field(description="subjects that are reported only")
    missed: list[MissedFloor]


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
    informational: int = Field(
        default=0, description="cells with deviations that fail nothing: the gate reports their subject only"
    )
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


class Shown(_Model):
    """One of the two releases of an exhibit."""

    subject: str
    release: str = Field(description="the package and version that make the difference")
    cell_id: str | None = Field(description="null where it did not run")
    verdict: CellOutcome | None
    got: str = Field(default="", description="what the rule saw; empty where it holds")
    optimizer_steps: int | None = None


class ExhibitVerdict(_Model):
    """A known fault of a release, beside the release that mended it."""

    id: str
    project: str
    title: str
    rule: str
    statement: str
    story: str
    upstream: str
    label: str
    expected: str = Field(
        description="what the contract says; empty where the bad release was not seen to deviate"
    )
    formula: str
    first_divergence: Divergence | None
    bad: Shown
    fixed: Shown
    confirmed: bool = Field(description="the bad release deviates as told, and the fixed one keeps the rule")
    trouble: str = Field(default="", description="why it is not confirmed")
    reproduce: list[str]


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
    gate: GateTerms | None = Field(default=None, description="the project's gate, where it has one")
    baseline: list[str] = Field(
        default_factory=list, description="where the known deviations were read, e.g. FILE or FILE at COMMIT"
    )
    clusters: list[Cluster]
    stale: list[StaleEntry]
    expiring: list[ExpiringEntry] = Field(default_factory=list)
    rules: list[RuleSummary]
    museum: list[ExhibitVerdict] = Field(
        default_factory=list, description="the exhibits of a run of a museum"
    )
    cells: list[CellVerdict]
