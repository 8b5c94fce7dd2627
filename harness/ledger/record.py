"""The record of one cell: scenario, subject, ledger, claims, outcome; and its JSON form. No torch here."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, get_args

from ...scenarios import Scenario, scenario_from_mapping
from .claims import Claims, LogEntry
from .events import Event
from .replay import Replay, Resumption, replay_from_table, resumption_from_table
from .union import RankLedger

__all__ = ["LEDGER_VERSION", "CellError", "CellRecord", "Outcome", "record_from_json", "record_to_json"]

LEDGER_VERSION = 1
"""changes whenever a field of an event or of the record changes its meaning; part of every cell id"""


class Outcome(StrEnum):
    """How the run of a cell ended (its verdict is another matter)."""

    COMPLETED = "completed"
    ERROR = "error"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, kw_only=True, slots=True)
class CellError:
    """Why a cell has no books: an exception, a crash, a hang, memory.

    Attributes:
        kind: `exception`, `timeout`, `killed`, `exit`, `memory`, `protocol`.
        message: one line.
        traceback: the subject's traceback or the crash dump, possibly empty.
    """

    kind: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellRecord:
    """One executed cell.

    Attributes:
        cell_id: content hash of scenario, subject, versions and device class.
        subject: the subject's name as the user wrote it.
        contract: name of the contract that the subject says it follows.
        versions: packages whose version is part of the cell id.
        device: device class, `cpu` or the accelerator's name.
        outcome: completed, error or unsupported.
        reason: why it is unsupported.
        events: the ledger; may be a torso where the outcome is an error.
        claims: what the trainer said.
        output: head and tail of what the subject printed.
        seconds: wall time of the subject's run.
        replay: its windows replayed (numeric tier).
        resumption: the same run without interruption, where the scenario asks for one.
        others: ranks 1 … R-1 of a run on several; `events` and `claims` are rank 0's.
    """

    cell_id: str
    scenario: Scenario
    subject: str
    contract: str
    versions: dict[str, str]
    device: str
    outcome: Outcome
    events: tuple[Event, ...] = ()
    claims: Claims = Claims()
    error: CellError | None = None
    reason: str = ""
    output: str = ""
    seconds: float = 0.0
    replay: Replay | None = None
    resumption: Resumption | None = None
    others: tuple[RankLedger, ...] = ()

    def digest(self) -> str:
        """Hash of everything that two identical runs must agree on: events, claims and outcome, not time or output."""
        kept: dict[str, Any] = {"events": self.events, "claims": self.claims, "outcome": self.outcome}
        kept["error"] = None if self.error is None else self.error.kind
        if self.others:
            kept["others"] = self.others
        text = json.dumps(_plain(kept), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def record_to_json(record: CellRecord) -> str:
    """Return the record as strict JSON text (NaN and infinities as the strings "nan", "inf", "-inf")."""
    table = _table(record)
    if not record.others:
        del table["others"]
    try:
        # The encoder itself walks what is plain already, which is almost all of it, faster than `_plain` does.
        return json.dumps(table, default=_table, separators=(",", ":"), allow_nan=False)
    except ValueError:  # a NaN or an infinity
        return json.dumps(_plain(table), separators=(",", ":"), allow_nan=False)


def record_from_json(text: str | bytes) -> CellRecord:
    """Return the record that `record_to_json` wrote.

    Raises:
        ValueError: the text is not such a record; the message says which part.
    """
    try:
        table = json.loads(text)
        table["scenario"] = scenario_from_mapping(table["scenario"])
        table["outcome"] = Outcome(table["outcome"])
        table["events"] = tuple(_event(item) for item in table["events"])
        table["claims"] = _claims(table["claims"])
        table["error"] = CellError(**table["error"]) if table["error"] else None
        table["seconds"] = _number(table["seconds"])
        for name, read in (("replay", replay_from_table), ("resumption", resumption_from_table)):
            table[name] = read(table[name]) if table.get(name) else None
        table["others"] = tuple(_rank_ledger(item) for item in table.get("others", ()))
        return CellRecord(**table)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a cell record: {error!r}") from error


def _plain(value: Any) -> Any:
    """Return `value` as JSON values; an event becomes a table with its kind under `event`."""
    kind: type = type(value)
    if kind is float:
        return value if math.isfinite(value) else repr(value)
    if kind is int or kind is str or kind is bool or value is None:
        return value
    if kind is tuple or kind is list:
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Scenario):
        return value.to_mapping()
    if is_dataclass(value):
        return {name: _plain(item) for name, item in _table(value).items()}
    raise TypeError(f"a record cannot hold a {kind.__name__}: {value!r}")


def _table(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass; an event has its kind under `event`."""
    kind: type = type(value)
    if kind is Scenario:
        mapping: dict[str, Any] = value.to_mapping()
        return mapping
    if not is_dataclass(value):
        raise TypeError(f"a record cannot hold a {kind.__name__}: {value!r}")
    table = {name: getattr(value, name) for name in _names(kind)}
    if kind in _EVENT_NAMES:
        table["event"] = _EVENT_NAMES[kind]
    return table


def _event(table: dict[str, Any]) -> Event:
    kind = _EVENTS[table.pop("event")]
    for name, value in table.items():
        if isinstance(value, list):
            table[name] = tuple(_number(item) for item in value)
        elif isinstance(value, dict):
            table[name] = {int(key): _number(item) for key, item in value.items()}
        elif isinstance(value, str):
            table[name] = float(value)
    event: Event = kind(**table)
    return event


def _rank_ledger(table: dict[str, Any]) -> RankLedger:
    return RankLedger(
        rank=table["rank"],
        events=tuple(_event(item) for item in table["events"]),
        claims=_claims(table["claims"]),
        parameter_distance=_number(table["parameter_distance"]),
    )


def _claims(table: dict[str, Any]) -> Claims:
    if table["log"] is not None:
        table["log"] = tuple(
            LogEntry(**{name: _number(value) for name, value in entry.items()}) for entry in table["log"]
        )
    for name in ("saved_at", "evaluated_at", "unread"):
        if table[name] is not None:
            table[name] = tuple(table[name])
    table["epoch"] = _number(table["epoch"])
    return Claims(**table)


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind))


_EVENT_NAMES: dict[type, str] = {kind: kind.__name__ for kind in get_args(Event)}
_EVENTS: dict[str, Any] = {name: kind for kind, name in _EVENT_NAMES.items()}
