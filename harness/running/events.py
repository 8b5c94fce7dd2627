"""What happens during a sweep, one frozen dataclass a moment; handlers show them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from ...scenarios import Scenario
    from ..ledger import CellError, Outcome
    from .packed import PackedRecord

__all__ = [
    "Agreement",
    "CellFinished",
    "CellRepeated",
    "CellReused",
    "CellStarted",
    "EnvironmentPreparing",
    "EnvironmentReady",
    "EnvironmentUnavailable",
    "RecordsDamaged",
    "SweepEvent",
    "SweepFinished",
    "SweepStarted",
    "WaitingForOtherRun",
    "WorkerLost",
    "WorkerReady",
    "WorkerRecycled",
    "WorkerStarted",
]


class Agreement(StrEnum):
    """How a repeat in a fresh process compares with the first ledger."""

    SAME = "same"
    DIFFERENT = "different"
    ERROR = "error"
    """the fresh process gave no ledger"""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepStarted:
    """The plan is counted and the store surveyed; nothing has run.

    Attributes:
        cells: cells of the plan that this shard owns, without doubles.
        elsewhere: cells of the plan that belong to other shards.
        declined: cells that their subject declines; they are recorded, no worker sees them.
        reused: cells with a stored record.
        scrubbed: the caller's variables that workers do not get.
    """

    cells: int
    elsewhere: int
    declined: int
    reused: int
    workers: int
    scrubbed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordsDamaged:
    """Stored records that fail their checksum; those of this plan run again."""

    cell_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentPreparing:
    """pip is about to make an environment that is not cached."""

    name: str
    requirements: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentReady:
    """An environment is there."""

    name: str
    directory: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentUnavailable:
    """An environment cannot be made; each of its cells is an error with this message."""

    name: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerStarted:
    """A worker process was started."""

    group: str
    pid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerReady:
    """A worker has done its imports."""

    group: str
    pid: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerLost:
    """A worker died or was killed; the cell it was running, if any, is an error."""

    group: str
    pid: int
    cell_id: str | None
    error: CellError


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRecycled:
    """A worker was replaced between two cells because it had grown."""

    group: str
    pid: int
    resident: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CellReused:
    """A cell was in the store already, from before or from another run at the same time."""

    cell_id: str
    scenario: Scenario
    subject: str
    outcome: Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class CellStarted:
    """A worker began a cell."""

    cell_id: str
    scenario: Scenario
    subject: str
    pid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CellFinished:
    """A cell has a record, and the store holds it; `packed.record()` reads it."""

    cell_id: str
    scenario: Scenario
    subject: str
    outcome: Outcome
    packed: PackedRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class CellRepeated:
    """A cell was run once more, in a fresh process; both ledgers are kept."""

    cell_id: str
    scenario: Scenario
    subject: str
    agreement: Agreement
    packed: PackedRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitingForOtherRun:
    """All that is left is being run by another run on the same store."""

    cells: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepFinished:
    """The sweep is over; with `interrupted`, before its plan was.

    Attributes:
        completed, errors, unsupported: outcomes of the cells that this run ran or recorded.
        reused: cells that were in the store.
        repeated: cells that also ran in a fresh process; `differing` of them gave another ledger.
    """

    completed: int
    errors: int
    unsupported: int
    reused: int
    repeated: int
    differing: int
    seconds: float
    interrupted: bool


SweepEvent = (
    SweepStarted
    | RecordsDamaged
    | EnvironmentPreparing
    | EnvironmentReady
    | EnvironmentUnavailable
    | WorkerStarted
    | WorkerReady
    | WorkerLost
    | WorkerRecycled
    | CellReused
    | CellStarted
    | CellFinished
    | CellRepeated
    | WaitingForOtherRun
    | SweepFinished
)
