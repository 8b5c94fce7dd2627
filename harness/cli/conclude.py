"""From records to exit code: judge the cells of a run, write every report, print the summary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from ...scenarios.gate import NO_GATE, Gate
from ...scenarios.known import KnownDeviation
from ...scenarios.museum import Exhibit, parse_museum
from ..contract import RULES
from ..judging.museum import Places, exhibit_terms, exhibits_shown, museum_sentence, places_of
from ..judging.run import RunFacts, judge_run
from ..judging.verdict import Verdict
from ..ledger import CellRecord
from ..running.store import Store
from ..subjects import REFERENCE
from .baseline_files import Baseline, baseline_of
from .extras import extras_of
from .manifest import Manifest, read_manifest

__all__ = ["conclude", "judged_run", "known_deviations", "verdict_of"]


def known_deviations(path: Path | None) -> tuple[KnownDeviation, ...]:
    """Return the known deviations of a file, or the built-in ones."""
    return baseline_of(path).entries


def conclude(
    directory: Path,
    store: Store,
    baseline: Baseline,
    gate: Gate = NO_GATE,
    *,
    console: Console,
    verbose: bool,
) -> Verdict:
    """Judge the run in a directory, write its reports, print the summary and return the verdict."""
    from ...reports.terminal import print_summary
    from ...reports.write import write_reports
    from .github import as_text, line_writer, tell_github

    manifest = read_manifest(directory)
    verdict = verdict_of(manifest, store, baseline, gate)
    try:
        write_reports(verdict, store.get, directory, extras=extras_of(verdict, baseline.entries))
    finally:  # a report that cannot be written must not hide the verdict
        write = line_writer(console)
        with as_text(write):
            print_summary(verdict, console=console, out_dir=directory, verbose=verbose)
        tell_github(verdict, manifest, write)
    return verdict


def verdict_of(manifest: Manifest, store: Store, baseline: Baseline, gate: Gate = NO_GATE) -> Verdict:
    """Judge the cells of a run by their records, and say why those that deviate do."""
    from ..diagnosis.of_verdict import diagnosed

    return diagnosed(judged_run(manifest, store, baseline, gate), store.get)


def judged_run(manifest: Manifest, store: Store, baseline: Baseline, gate: Gate = NO_GATE) -> Verdict:
    """Judge the cells of a run by their records."""
    exhibits, places = _museum(manifest, store)
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
        baseline=baseline.sources,
        terms=exhibit_terms(exhibits, places),
    )
    verdict = judge_run(
        _records(store, manifest.cells),
        baseline.entries,
        facts,
        reference=_reference(store, manifest),
        today=datetime.now(UTC).date(),
        gate=gate,
    )
    if not exhibits:
        return verdict
    shown = exhibits_shown(exhibits, verdict.cells, places)
    return verdict.model_copy(update={"museum": shown, "sentence": museum_sentence(shown)})


def _museum(manifest: Manifest, store: Store) -> tuple[tuple[Exhibit, ...], Places]:
    """Return the exhibits of a run of a museum, and which cell is whose."""
    if manifest.museum is None:
        return (), {}
    exhibits = parse_museum(manifest.museum, name=manifest.suite, rules=RULES).exhibits
    places = places_of(_records(store, manifest.cells))
    return tuple(item for item in exhibits if (item.bad, item.scenario.label) in places), places


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
