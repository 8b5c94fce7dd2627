"""The verdict on a whole run: cells judged one by one, clustered, counted, and put through the gate."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version

from ...scenarios import Scenario
from ...scenarios.gate import NO_GATE, Gate
from ...scenarios.known import KnownDeviation
from ..contract import RULES, Contract, contract_named, draw_up
from ..contract.books import reference_run
from ..ledger import CellRecord, Outcome
from .cells import Judged, Reference, figures_of, judge_cell
from .clusters import clusters_of
from .gate import gate_terms, gated_cells
from .sentence import sentence_of
from .verdict import (
    CellOutcome,
    CellVerdict,
    Cluster,
    Counts,
    Environment,
    ExitCode,
    ExpiringEntry,
    GateTerms,
    RuleSummary,
    StaleEntry,
    Standing,
    Verdict,
    VerdictOutcome,
)

__all__ = ["CellTerms", "RunFacts", "judge_run"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CellTerms:
    """What one cell is judged by instead of what the run is judged by: an exhibit's rule, contract and wrong value."""

    rules: frozenset[str]
    contract: str | None
    known: tuple[KnownDeviation, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """What a verdict says of the run besides its cells.

    Attributes:
        command: the command line, for the report.
        suite: name of the suite, or what stands for it.
        started: ISO 8601, UTC.
        seconds: wall time of the sweep.
        executed: cells that this run ran; `from_store` were there already.
        repeated: cells that also ran in a fresh process.
        interrupted: whether the sweep ended before its plan.
        flaky: ids of the cells whose second ledger differs.
        contract: a contract that overrides the subjects' own.
        rules: the rules to judge by; None means all.
        pairs: (covered, total) pairs of axis values, where the suite promises coverage.
        baseline: where the known deviations were read.
        terms: by cell id, what a cell is judged by instead.
    """

    command: str
    suite: str
    started: str
    seconds: float
    device: str = "cpu"
    executed: int = 0
    from_store: int = 0
    repeated: int = 0
    interrupted: bool = False
    flaky: frozenset[str] = frozenset()
    contract: str | None = None
    rules: frozenset[str] | None = None
    pairs: tuple[int, int] | None = None
    baseline: tuple[str, ...] = ()
    terms: Mapping[str, CellTerms] = field(default_factory=dict)


@dataclass(kw_only=True)
class _Tally:
    """What is gathered while the cells go by."""

    cells: list[CellVerdict] = field(default_factory=list)
    packages: dict[str, str] = field(default_factory=dict)
    contracts: dict[str, str] = field(default_factory=dict)
    stale: dict[str, list[str]] = field(default_factory=dict)
    expired: dict[str, list[str]] = field(default_factory=dict)


def judge_run(
    records: Iterable[CellRecord],
    known: Sequence[KnownDeviation],
    facts: RunFacts,
    *,
    reference: Iterable[CellRecord],
    today: date,
    gate: Gate = NO_GATE,
) -> Verdict:
    """Judge all cells of a run.

    Args:
        records: the records of the run's cells, one at a time.
        known: the known deviations.
        facts: the run itself.
        reference: records of the subject that all others are compared with.
        today: for expiry.
        gate: what the project demands besides.
    """
    beside = _reference_runs(reference, facts.contract)
    tally = _Tally()
    for record in records:
        own = facts.terms.get(record.cell_id)
        contract = contract_named((own and own.contract) or facts.contract or record.contract)
        judged = judge_cell(
            record,
            contract,
            own.known if own else known,
            today=today,
            is_flaky=record.cell_id in facts.flaky,
            rules=own.rules if own else facts.rules,
            reference=beside.get(record.scenario),
            is_informational=gate.is_informational(record.subject),
        )
        _add(tally, record, judged, contract)
    entries = [*known, *(entry for own in facts.terms.values() for entry in own.known)]
    return _verdict(tally, entries, facts, gate, today)


def _reference_runs(records: Iterable[CellRecord], override: str | None) -> dict[Scenario, Reference]:
    found: dict[Scenario, Reference] = {}
    for record in records:
        if record.outcome is Outcome.COMPLETED:
            books = draw_up(record, contract_named(override or record.contract))
            run = None if record.replay is None else reference_run(books)
            found[record.scenario] = Reference(cell_id=record.cell_id, figures=figures_of(books), run=run)
    return found


def _add(tally: _Tally, record: CellRecord, judged: Judged, contract: Contract) -> None:
    tally.cells.append(judged.verdict)
    own = {name: text for name, text in record.versions.items() if name != "source"}
    for name, text in own.items():
        before = tally.packages.get(name)
        tally.packages[name] = (
            text if before in (None, text) else ", ".join(sorted({*before.split(", "), text}))
        )
    tally.contracts[contract.name] = contract.title
    for found, into in ((judged.stale, tally.stale), (judged.expired, tally.expired)):
        for entry_id in found:
            into.setdefault(entry_id, []).append(record.cell_id)


def _verdict(
    tally: _Tally, known: Sequence[KnownDeviation], facts: RunFacts, gate: Gate, today: date
) -> Verdict:
    clusters = clusters_of(tally.cells, {entry.id: entry for entry in known})
    stale = [
        *(_stale_entry(entry_id, "stale", ids) for entry_id, ids in tally.stale.items()),
        *(_stale_entry(entry_id, "expired", ids) for entry_id, ids in tally.expired.items()),
    ]
    counts = _counts(tally, facts)
    terms = gate_terms(gate, tally.cells)
    gated = gated_cells(tally.cells, gate)
    code = _exit_code(counts, gated, terms, interrupted=facts.interrupted)
    outcome = {
        ExitCode.PASSED: VerdictOutcome.PASSED,
        ExitCode.VIOLATED: VerdictOutcome.VIOLATED,
        ExitCode.NOT_JUDGED: VerdictOutcome.NOT_JUDGED,
        ExitCode.NOTHING: VerdictOutcome.NOTHING,
        ExitCode.INTERRUPTED: VerdictOutcome.INTERRUPTED,
    }[code]
    return Verdict(
        exit_code=int(code),
        outcome=outcome,
        sentence=sentence_of(
            outcome,
            counts,
            clusters,
            stale,
            terms,
            judged=sum(cell.account is not None for cell in gated),
            flaky=sum(cell.verdict is CellOutcome.FLAKY for cell in gated),
        ),
        command=facts.command,
        suite=facts.suite,
        started=facts.started,
        seconds=facts.seconds,
        counts=counts,
        environment=Environment(
            stepaudit=version("stepaudit"),
            python=platform.python_version(),
            platform=platform.platform(),
            device=facts.device,
            packages=dict(sorted(tally.packages.items())),
        ),
        contracts=tally.contracts,
        gate=terms,
        baseline=list(facts.baseline),
        clusters=clusters,
        stale=stale,
        expiring=_expiring(clusters, known, today),
        rules=_rules(tally.cells),
        cells=tally.cells,
    )


def _expiring(
    clusters: Sequence[Cluster], known: Sequence[KnownDeviation], today: date
) -> list[ExpiringEntry]:
    """Return the entries that this run met and that are about to expire, the most urgent first."""
    met = {cluster.known_id for cluster in clusters if cluster.standing is Standing.KNOWN}
    found = [entry for entry in known if entry.id in met and entry.expires_soon(today)]
    return [
        ExpiringEntry(
            known_id=entry.id,
            expires=entry.expires.isoformat(),
            days=(entry.expires - today).days,
            owner=entry.owner,
            upstream=entry.upstream,
            text=f"known deviation {entry.id} expires on {entry.expires} ({(entry.expires - today).days} days left; "
            f"owner {entry.owner}, upstream {entry.upstream}): after that it fails the gate",
        )
        for entry in sorted(found, key=lambda entry: entry.expires)
    ]


def _rules(cells: Sequence[CellVerdict]) -> list[RuleSummary]:
    checked = Counter(rule for cell in cells for rule in cell.rules_checked)
    unsupported = Counter(rule for cell in cells for rule in cell.rules_unsupported)
    deviating = Counter(rule for cell in cells for rule in {item.rule for item in cell.deviations})
    return [
        RuleSummary(
            rule=rule.rule_id,
            statement=rule.statement,
            formula=rule.formula,
            checked=checked[rule.rule_id],
            deviating=deviating[rule.rule_id],
            unsupported=unsupported[rule.rule_id],
        )
        for rule in RULES.values()
    ]


def _counts(tally: _Tally, facts: RunFacts) -> Counts:
    by_outcome = Counter(cell.verdict for cell in tally.cells)
    by_standing = Counter(
        standing for cell in tally.cells for standing in {item.standing for item in cell.deviations}
    )
    return Counts(
        cells=len(tally.cells),
        executed=facts.executed,
        from_store=facts.from_store,
        conforms=by_outcome[CellOutcome.CONFORMS],
        deviates=by_outcome[CellOutcome.DEVIATES],
        new=by_standing[Standing.NEW],
        known=by_standing[Standing.KNOWN],
        drifted=by_standing[Standing.DRIFTED],
        stale=len(tally.stale),
        expired=len(tally.expired),
        flaky=by_outcome[CellOutcome.FLAKY],
        unsupported=by_outcome[CellOutcome.UNSUPPORTED],
        not_judged=by_outcome[CellOutcome.ERROR],
        informational=by_standing[Standing.INFORMATIONAL],
        repeated=facts.repeated,
        pairs_covered=facts.pairs[0] if facts.pairs else None,
        pairs_total=facts.pairs[1] if facts.pairs else None,
    )


def _exit_code(
    counts: Counts, gated: Sequence[CellVerdict], terms: GateTerms | None, *, interrupted: bool
) -> ExitCode:
    """Return what the run comes to; a floor is asked of what was judged, and where nothing was, 3 or 4 say so."""
    if interrupted:
        return ExitCode.INTERRUPTED
    judged = any(cell.account is not None for cell in gated)
    flaky = any(cell.verdict is CellOutcome.FLAKY for cell in gated)
    missed = judged and terms is not None and terms.missed
    if counts.new or counts.drifted or counts.stale or counts.expired or flaky or missed:
        return ExitCode.VIOLATED
    if counts.not_judged:
        return ExitCode.NOT_JUDGED
    return ExitCode.PASSED if judged else ExitCode.NOTHING


def _stale_entry(entry_id: str, standing: str, cell_ids: list[str]) -> StaleEntry:
    what = "covers cells that now conform" if standing == "stale" else "has expired and still shows"
    return StaleEntry(
        known_id=entry_id,
        standing=standing,
        text=f"known deviation {entry_id} {what} ({len(cell_ids)} cells)",
        cell_ids=cell_ids,
    )
