"""What the process that drives a pytest session does with the audited cells: it keeps, judges and reports them all."""

from __future__ import annotations

import base64
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..reports.github import Place
from ..scenarios.gate import Gate
from .audited import Audited
from .cli.baseline_files import Baseline
from .cli.conclude import verdict_of
from .cli.github import tell_github
from .cli.manifest import Manifest, write_manifest
from .judging.verdict import Verdict
from .running.packed import PackedRecord
from .running.store import RECORDS_NAME, Store

__all__ = ["AuditedSession", "Concluded", "from_report", "session_code", "to_report"]


def to_report(cells: list[Audited]) -> list[dict[str, str]]:
    """Return cells as plain texts, which pytest-xdist carries from a worker to the controller."""
    return [
        {
            name: base64.b64encode(packed.to_frame()).decode()
            for name, packed in (("record", cell.record), ("repeat", cell.repeat))
            if packed is not None
        }
        for cell in cells
    ]


def from_report(tables: list[Mapping[str, str]]) -> list[Audited]:
    """Return the cells that `to_report` wrote."""
    return [
        Audited(
            record=PackedRecord.from_frame(base64.b64decode(table["record"])),
            repeat=PackedRecord.from_frame(base64.b64decode(table["repeat"])) if "repeat" in table else None,
        )
        for table in tables
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Concluded:
    """A session at its end.

    Attributes:
        verdict: over all its cells.
        manifest: which cells they are.
        tests: cell id to the test that audited it.
    """

    verdict: Verdict
    manifest: Manifest
    tests: Mapping[str, Place]

    def lines(self) -> list[str]:
        """Return what the failures do not say: what several cells tell together, the gate, entries about to expire.

        A test has said all that there is about a lone cell.
        """
        from ..reports.overview import open_clusters
        from ..reports.terminal import deviations_text

        lines: list[str] = []
        if any(cluster.judged > 1 for cluster in open_clusters(self.verdict)):
            lines += [*deviations_text(self.verdict).splitlines(), ""]
        gate = self.verdict.gate
        if gate is not None:
            lines += [f"gate of {gate.source} missed: {floor.text}" for floor in gate.missed]
        lines += [f"warning: {entry.text}" for entry in self.verdict.expiring]
        return lines

    def tell_github(self, write: Callable[[str], object]) -> None:
        """Write the step summary and the annotations, where this runs in GitHub Actions and a test has audited."""
        if self.verdict.cells:
            tell_github(self.verdict, self.manifest, write, tests=self.tests)


class AuditedSession:
    """The cells of one session, of all its workers.

    Args:
        baseline: known deviations.
        gate: what the project demands.
        report: directory of the reports, or None.
    """

    def __init__(self, baseline: Baseline, gate: Gate, report: Path | None) -> None:
        self._baseline = baseline
        self._gate = gate
        self._report = report
        self._began = datetime.now(UTC)
        self._scratch = Path(tempfile.mkdtemp(prefix="stepaudit-"))
        self._store = Store(self._scratch / RECORDS_NAME)
        self._tests: dict[str, Place | None] = {}
        self._repeated = 0

    def keep(self, cells: list[Audited], test: Place | None = None) -> None:
        """Keep the cells of one test, and where it is."""
        for cell in cells:
            self._tests.setdefault(cell.record.cell_id, test)
            self._store.put(cell.record)
            if cell.repeat is not None:
                self._store.put_repeat(cell.repeat)
                self._repeated += 1

    def conclude(self) -> Concluded:
        """Judge all cells as one run, and write the reports where they were asked for; the cells are then gone.

        Raises:
            OSError: the directory of the reports cannot be written.
        """
        try:
            manifest = self._manifest()
            verdict = verdict_of(manifest, self._store, self._baseline, self._gate)
            if self._report is not None:
                self._write(verdict, manifest, self._report)
            tests = {cell_id: test for cell_id, test in self._tests.items() if test is not None}
            return Concluded(verdict=verdict, manifest=manifest, tests=tests)
        finally:
            self._store.close()
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _write(self, verdict: Verdict, manifest: Manifest, directory: Path) -> None:
        from ..reports.write import write_reports

        directory.mkdir(parents=True, exist_ok=True)
        write_manifest(directory, manifest)
        write_reports(verdict, self._store.get, directory)
        self._store.close()  # which moves everything into the one file
        for suffix in ("-wal", "-shm"):
            (directory / f"{RECORDS_NAME}{suffix}").unlink(missing_ok=True)
        shutil.copyfile(self._scratch / RECORDS_NAME, directory / RECORDS_NAME)

    def _manifest(self) -> Manifest:
        return Manifest(
            command=" ".join(["pytest", *sys.argv[1:]]),
            suite="pytest",
            started=self._began.isoformat(timespec="seconds"),
            seconds=(datetime.now(UTC) - self._began).total_seconds(),
            device="cpu",
            contract=None,
            rules=None,
            executed=len(self._tests),
            from_store=0,
            repeated=self._repeated,
            interrupted=False,
            pairs=None,
            cells=list(self._tests),
            reference_cells=[],
            known=list(self._baseline.texts),
        )


def session_code(own: int, verdict: Verdict, *, others_failed: bool) -> int:
    """Return the exit code of a session: pytest's own, unless the verdict has more to say (DESIGN §7).

    Args:
        own: pytest's code.
        verdict: of all audited cells.
        others_failed: whether a test failed for another reason than a cell that could not be judged.
    """
    import pytest

    passed_or_empty = own in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
    only_unjudged = own == pytest.ExitCode.TESTS_FAILED and not others_failed
    return verdict.exit_code if passed_or_empty or only_unjudged else own
