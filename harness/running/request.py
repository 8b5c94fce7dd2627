"""What the runner asks of a worker, its JSON form, and the content-addressed id of a cell."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from ...scenarios import Scenario, scenario_from_mapping
from ..ledger import LEDGER_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CellRequest", "cell_id", "is_repeated", "request_from_json", "request_to_json"]

Option = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CellRequest:
    """One cell to run.

    Attributes:
        cell_id: content hash of scenario, subject, versions and device.
        subject: the subject's name as the user wrote it.
        contract: the contract that the subject says it follows.
        versions: packages whose version is part of the cell id.
        device: device class, `cpu` or the accelerator's name.
        timeout_s: wall time after which the worker is killed; the worker's start does not count.
        options: options of the tier, plain values; they do not change what is recorded of a trace cell.
    """

    cell_id: str
    scenario: Scenario
    subject: str
    contract: str
    versions: dict[str, str]
    device: str
    timeout_s: float
    options: dict[str, Option] = field(default_factory=dict)


def cell_id(*, scenario: Scenario, subject: str, versions: Mapping[str, str], device: str) -> str:
    """Return the id under which a cell's record is stored: a hash of everything that decides its ledger."""
    parts = {
        "ledger": LEDGER_VERSION,
        "scenario": scenario.to_mapping(),
        "subject": subject,
        "versions": dict(versions),
        "device": device,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def is_repeated(cell: str, fraction: float) -> bool:
    """Return whether the cell is among the `fraction` of all cells that also run in a fresh process."""
    return int(cell[16:32], 16) < fraction * 2**64


def request_to_json(request: CellRequest) -> bytes:
    """Return the request as one line of strict JSON."""
    table = {item.name: getattr(request, item.name) for item in fields(request)}
    table["scenario"] = request.scenario.to_mapping()
    return json.dumps(table, separators=(",", ":"), allow_nan=False).encode()


def request_from_json(text: bytes) -> CellRequest:
    """Return the request that `request_to_json` wrote.

    Raises:
        ValueError: it is not such a request; the message says which part.
    """
    table = json.loads(text)
    if not isinstance(table, dict):
        raise ValueError(f"a cell request is a table, not {table!r}")  # noqa: TRY004 - one kind for all
    names = {item.name for item in fields(CellRequest)}
    if set(table) != names:
        raise ValueError(f"a cell request has the fields {sorted(names)}, not {sorted(table)}")
    for name in ("cell_id", "subject", "contract", "device"):
        _expect(isinstance(table[name], str), name, table[name])
    _expect(_is_table(table["versions"], str), "versions", table["versions"])
    _expect(_is_table(table["options"], str, int, float, bool, type(None)), "options", table["options"])
    timeout = table["timeout_s"]
    _expect(type(timeout) in {int, float} and math.isfinite(timeout) and timeout > 0, "timeout_s", timeout)
    _expect(isinstance(table["scenario"], dict), "scenario", table["scenario"])
    table["scenario"] = scenario_from_mapping(table["scenario"])
    return CellRequest(**table)


def _is_table(value: Any, *kinds: type) -> bool:
    return isinstance(value, dict) and all(type(item) in kinds for item in value.values())


def _expect(holds: Any, name: str, value: Any) -> None:
    if not holds:
        raise ValueError(f"cell request: {name} cannot be {value!r}")
