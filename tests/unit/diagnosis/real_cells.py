"""Runs the tiny loops in this process, with the real probes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from stepaudit.harness.contract import contract_named
from stepaudit.harness.diagnosis import cell_of
from stepaudit.harness.running.cell import execute
from stepaudit.harness.running.request import CellRequest
from stepaudit.harness.subjects import resolve

__all__ = ["LOOPS", "cells_of", "runner_of"]

LOOPS = Path(__file__).with_name("loops.py")


def runner_of(name):
    """Return a function that runs cells of a subject in this process."""
    contract = resolve(name).contract

    def run(scenarios):
        records = []
        for scenario in scenarios:
            request = CellRequest(
                cell_id="test",
                scenario=scenario,
                subject=name,
                contract=contract,
                versions={},
                device="cpu",
                timeout_s=60.0,
            )
            with tempfile.TemporaryDirectory(prefix="stepaudit-test-") as scratch:
                records.append(execute(request, Path(scratch)))
        return records

    return run


def cells_of(name, scenarios):
    """Run scenarios that must complete, and return their cells."""
    contract = contract_named(resolve(name).contract)
    cells = [cell_of(record, contract) for record in runner_of(name)(scenarios)]
    assert None not in cells
    return cells
