"""stepaudit itself, beside the peers: the cells of a suite one by one, until the first that shows the fault."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from stepaudit.harness.contract import contract_named
from stepaudit.harness.judging.cells import judge_cell
from stepaudit.harness.running.cell import execute
from stepaudit.harness.running.request import CellRequest
from stepaudit.harness.subjects import resolve
from stepaudit.scenarios.faults import FAULTS
from stepaudit.scenarios.suites import load_suite

import arena

#: Cells that a correct but unusual loop must pass here; `stepaudit faults` gives it the whole suite.
ENOUGH = 40


def main() -> None:
    """Names on the command line; an answer a line."""
    suite = (*load_suite("default").scenarios, *load_suite("precision").scenarios)  # as `stepaudit faults` does
    today = datetime.now(UTC).date()
    for name in sys.argv[1:]:
        subject = resolve(f"{'fault' if name in FAULTS else 'unusual'}@{name}")
        cells = [scenario for scenario in suite if subject.supports(scenario) is None]
        if name not in FAULTS:
            cells = cells[:ENOUGH]
        began, ran, found, error = time.process_time(), 0, "", ""
        for ran, scenario in enumerate(cells, 1):  # noqa: B007
            request = CellRequest(
                cell_id="0" * 64, scenario=scenario, subject=subject.name, contract=subject.contract, versions={},
                device="cpu", timeout_s=60.0,
            )  # fmt: skip
            with tempfile.TemporaryDirectory() as scratch, _silence():
                record = execute(request, Path(scratch))
                verdict = judge_cell(record, contract_named(record.contract), (), today=today).verdict
            if verdict.error is not None:
                error = verdict.error.message
            for deviation in verdict.deviations:
                found = f"{deviation.rule}: {deviation.expected}, got {deviation.got}; {deviation.reproduce}"
                break
            if found:
                break
        arena.tell(
            name=name, outcome="sees" if found else "error" if error else "passes" if ran else "no cell", text=found or error, checks=ran,
            failing=int(bool(found)), seconds=time.process_time() - began,
        )  # fmt: skip


@contextlib.contextmanager
def _silence():  # noqa: ANN202
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


if __name__ == "__main__":
    main()
