"""The records that everybody reads: events, claims, account, cell record. Imports no torch."""

from .account import Account, LogPoint, MicroBatch, Update, account_of
from .claims import Claims, LogEntry
from .events import (
    Backward,
    Clipped,
    EpochBegan,
    Evaluated,
    Event,
    Fetched,
    Forward,
    GradsZeroed,
    Interrupted,
    Logged,
    OptimizerStep,
    Saved,
    SchedulerStep,
    Stopped,
)
from .record import LEDGER_VERSION, CellError, CellRecord, Outcome, record_from_json, record_to_json

__all__ = [
    "LEDGER_VERSION",
    "Account",
    "Backward",
    "CellError",
    "CellRecord",
    "Claims",
    "Clipped",
    "EpochBegan",
    "Evaluated",
    "Event",
    "Fetched",
    "Forward",
    "GradsZeroed",
    "Interrupted",
    "LogEntry",
    "LogPoint",
    "Logged",
    "MicroBatch",
    "OptimizerStep",
    "Outcome",
    "Saved",
    "SchedulerStep",
    "Stopped",
    "Update",
    "account_of",
    "record_from_json",
    "record_to_json",
]
