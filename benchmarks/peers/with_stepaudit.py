"""stepaudit itself, beside the peers: a loop's cells as `stepaudit faults` runs them, until the named rule breaks."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import arena
from stepaudit.harness.contract import contract_named
from stepaudit.harness.judging.cells import judge_cell
from stepaudit.harness.running.cell import execute
from stepaudit.harness.running.request import CellRequest
from stepaudit.harness.subjects import resolve
from stepaudit.scenarios.faults import FAULTS
from stepaudit.scenarios.suites import load_suite

SUITES = ("default", "precision")
ENOUGH = 40
"""cells that a correct but unusual loop must pass here; `stepaudit faults` gives it the whole suite"""


def main() -> None:
    """Names on the command line; an answer a line."""
    suite = [scenario for name in SUITES for scenario in load_suite(name).scenarios]
    today = datetime.now(UTC).date()
    for name in sys.argv[1:]:
        subject = resolve(f"{'fault' if name in FAULTS else 'unusual'}@{name}")
        cells = [scenario for scenario in suite if subject.supports(scenario) is None]
        rule = FAULTS[name].rule if name in FAULTS else None
        began, ran, failing = time.process_time(), 0, 0
        named = other = error = ""
        for scenario in cells if rule else cells[:ENOUGH]:
            request = CellRequest(
                cell_id="0" * 64,
                scenario=scenario,
                subject=subject.name,
                contract=subject.contract,
                versions={},
                device="cpu",
                timeout_s=60.0,
            )
            with tempfile.TemporaryDirectory() as scratch, _silence():
                record = execute(request, Path(scratch))
            verdict = judge_cell(record, contract_named(record.contract), (), today=today).verdict
            ran += 1
            failing += bool(verdict.deviations)
            if verdict.error is not None:
                error = error or verdict.error.message
            for deviation in verdict.deviations:
                text = f"{deviation.rule}: {deviation.expected}, got {deviation.got}; {deviation.reproduce}"
                named = named or (text if deviation.rule == rule else "")
                other = other or text
            if named or (other and rule is None):
                break
        outcome = (
            "caught"
            if named
            else "caught but unnamed"
            if other
            else "error"
            if error or not ran
            else "missed"
        )
        arena.tell(
            name=name,
            outcome=outcome,
            text=named or other or error or ("" if ran else "no cell of these suites is for it"),
            checks=ran,
            failing=failing,
            seconds=time.process_time() - began,
        )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


if __name__ == "__main__":
    main()
