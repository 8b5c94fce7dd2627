"""From records to exit code: judge the cells of a run, write every report, print the summary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from ...scenarios.known import KNOWN_FILE, KnownDeviation, load_known
from ..contract import RULES
from ..judging.run import RunFacts, judge_run
from ..judging.verdict import Verdict
from ..ledger import CellRecord
from ..running.store import Store
from ..subjects import REFERENCE
from .manifest import Manifest, read_manifest

__all__ = ["conclude", "known_deviations", "verdict_of"]


def known_deviations(path: Path | None) -> tuple[KnownDeviation, ...]:
    """Return the known deviations of a file, or the built-in ones."""
    return load_known(path or KNOWN_FILE, rules=RULES)


def conclude(
    directory: Path, store: Store, known: tuple[KnownDeviation, ...], *, console: Console, verbose: bool
) -> int:
    """Judge the run in a directory, write its reports, print the summary and return the exit code."""
    from ...reports.terminal import print_summary
    from ...reports.write import write_reports

    verdict = verdict_of(read_manifest(directory), store, known)
    try:
        write_reports(verdict, store.get, directory)
    finally:  # a report that cannot be written must not hide the verdict
        print_summary(verdict, console=console, out_dir=directory, verbose=verbose)
    return verdict.exit_code


def verdict_of(manifest: Manifest, store: Store, known: tuple[KnownDeviation, ...]) -> Verdict:
    """Judge the cells of a run by their records."""
    flaky = _flaky(store, frozenset(manifest.cells))
    facts = RunFacts(
        command=manifest.command,
        suite=manifest.suite,
        started=manifest.started,
        seconds=manifest.seconds,
        device=manifest.device,
        executed=manifest.executed,
        from_store=manifest.from_store,
        repeated=manifest.repeated,
        interrupted=manifest.interrupted,
        flaky=flaky,
        contract=manifest.contract,
        rules=None if manifest.rules is None else frozenset(manifest.rules),
        pairs=(manifest.pairs[0], manifest.pairs[1]) if manifest.pairs else None,
    )
    return judge_run(
        _records(store, manifest.cells),
        known,
        facts,
        reference=_reference(store, manifest),
        today=datetime.now(UTC).date(),
    )


def _records(store: Store, ids: Iterable[str]) -> Iterator[CellRecord]:
    for cell_id in ids:
        record = store.get(cell_id)
        if record is not None:
            yield record


def _reference(store: Store, manifest: Manifest) -> Iterator[CellRecord]:
    """Give the reference's records: those that ran beside the subjects, or the reference among the subjects."""
    if manifest.reference_cells:
        yield from _records(store, manifest.reference_cells)
    else:
        yield from (record for record in _records(store, manifest.cells) if record.subject == REFERENCE)


def _flaky(store: Store, ids: frozenset[str]) -> frozenset[str]:
    """Return the cells whose second ledger, from a fresh process, differs from the first."""
    differing = set()
    for repeat in store.repeats():
        first = store.get(repeat.cell_id) if repeat.cell_id in ids else None
        if first is not None and first.outcome is repeat.outcome and first.digest() != repeat.digest():
            differing.add(repeat.cell_id)
    return frozenset(differing)
