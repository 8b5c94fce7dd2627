"""The records that everybody reads: events, claims, account, cell record. Imports no torch."""

from .account import Account, ClipPoint, LogPoint, MicroBatch, Update, account_of
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
from .replay import Curves, ParameterDistance, Replay, Resumption, UpdateDigest, envelope_of

__all__ = [
    "LEDGER_VERSION",
    "Account",
    "Backward",
    "CellError",
    "CellRecord",
    "Claims",
    "ClipPoint",
    "Clipped",
    "Curves",
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
    "ParameterDistance",
    "Replay",
    "Resumption",
    "Saved",
    "SchedulerStep",
    "Stopped",
    "Update",
    "UpdateDigest",
    "account_of",
    "envelope_of",
    "record_from_json",
    "record_to_json",
]
