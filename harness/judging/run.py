"""The verdict on a whole run: cells judged one by one, clustered, counted, and put through the gate."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version

from ...scenarios import Scenario
from ...scenarios.known import KnownDeviation
from ..contract import RULES, Contract, contract_named, draw_up
from ..contract.books import reference_run
from ..ledger import CellRecord, Outcome
from .cells import Judged, Reference, figures_of, judge_cell
from .verdict import (
    CellOutcome,
    CellVerdict,
    Cluster,
    Counts,
    Deviation,
    Environment,
    Example,
    ExitCode,
    RuleSummary,
    StaleEntry,
    Standing,
    Verdict,
    VerdictOutcome,
)

__all__ = ["RunFacts", "judge_run"]


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
) -> Verdict:
    """Judge all cells of a run.

    Args:
        records: the records of the run's cells, one at a time.
        known: the known deviations.
        facts: the run itself.
        reference: records of the subject that all others are compared with.
        today: for expiry.
    """
    beside = _reference_runs(reference, facts.contract)
    tally = _Tally()
    for record in records:
        contract = contract_named(facts.contract or record.contract)
        judged = judge_cell(
            record,
            contract,
            known,
            today=today,
            is_flaky=record.cell_id in facts.flaky,
            rules=facts.rules,
            reference=beside.get(record.scenario),
        )
        _add(tally, record, judged, contract)
    return _verdict(tally, known, facts)


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


def _verdict(tally: _Tally, known: Sequence[KnownDeviation], facts: RunFacts) -> Verdict:
    clusters = _clusters(tally.cells, {entry.id: entry for entry in known})
    stale = [
        *(_stale_entry(entry_id, "stale", ids) for entry_id, ids in tally.stale.items()),
        *(_stale_entry(entry_id, "expired", ids) for entry_id, ids in tally.expired.items()),
    ]
    counts = _counts(tally, facts)
    code = _exit_code(counts, interrupted=facts.interrupted)
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
        sentence=_sentence(outcome, counts, clusters, stale),
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
        clusters=clusters,
        stale=stale,
        rules=_rules(tally.cells),
        cells=tally.cells,
    )


_ORDER = {Standing.NEW: 0, Standing.DRIFTED: 1, Standing.EXPIRED: 2, Standing.KNOWN: 3}


def _clusters(cells: Sequence[CellVerdict], known: Mapping[str, KnownDeviation]) -> list[Cluster]:
    """Group deviations by rule, subject and standing; the contract's rule order is from cause to consequence."""
    groups: dict[tuple[str, str, Standing, str | None], list[tuple[CellVerdict, Deviation]]] = {}
    judged: dict[tuple[str, str], int] = {}
    for cell in cells:
        for rule in cell.rules_checked:
            judged[rule, cell.subject] = judged.get((rule, cell.subject), 0) + 1
        seen: set[tuple[str, Standing, str | None]] = set()
        for deviation in cell.deviations:
            key = (deviation.rule, deviation.standing, deviation.known_id)
            if key not in seen:  # one a cell: a rule may have several findings in it
                seen.add(key)
                groups.setdefault((deviation.rule, cell.subject, *key[1:]), []).append((cell, deviation))
    clusters = []
    for (rule, subject, standing, known_id), members in groups.items():
        cell, deviation = min(members, key=lambda member: _size(member[0]))
        large, its_deviation = max(members, key=lambda member: _size(member[0]))
        entry = known.get(known_id) if known_id else None
        clusters.append(
            Cluster(
                rule=rule,
                statement=RULES[rule].statement,
                subject=subject,
                standing=standing,
                known_id=known_id,
                reason=entry.reason if entry else "",
                upstream=entry.upstream if entry else None,
                failing=len(members),
                judged=judged[rule, subject],
                cell_ids=[member.id for member, _ in members],
                smallest=cell.id,
                label=cell.label,
                expected=deviation.expected,
                got=deviation.got,
                formula=deviation.formula,
                first_divergence=deviation.first_divergence,
                reproduce=deviation.reproduce,
                largest=None
                if large is cell
                else Example(
                    cell_id=large.id,
                    label=large.label,
                    expected=its_deviation.expected,
                    got=its_deviation.got,
                ),
            )
        )
    order = list(RULES)
    return sorted(
        clusters,
        key=lambda item: (_ORDER[item.standing], order.index(item.rule), -item.failing, item.subject),
    )


def _size(cell: CellVerdict) -> tuple[int, int, str]:
    """Smaller scenarios first: fewer micro-batches to look at, then a shorter description."""
    micro_batches = cell.account.expected.micro_batches if cell.account else None
    return (micro_batches or 0, len(cell.label), cell.label)


def _rules(cells: Sequence[CellVerdict]) -> list[RuleSummary]:
    checked = dict.fromkeys(RULES, 0)
    unsupported = dict.fromkeys(RULES, 0)
    deviating = dict.fromkeys(RULES, 0)
    for cell in cells:
        for rule in cell.rules_checked:
            checked[rule] += 1
        for rule in cell.rules_unsupported:
            unsupported[rule] += 1
        for rule in {deviation.rule for deviation in cell.deviations}:
            deviating[rule] += 1
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
    by_outcome = dict.fromkeys(CellOutcome, 0)
    by_standing = dict.fromkeys(Standing, 0)
    for cell in tally.cells:
        by_outcome[cell.verdict] += 1
        for standing in {deviation.standing for deviation in cell.deviations}:
            by_standing[standing] += 1
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
        repeated=facts.repeated,
        pairs_covered=facts.pairs[0] if facts.pairs else None,
        pairs_total=facts.pairs[1] if facts.pairs else None,
    )


def _exit_code(counts: Counts, *, interrupted: bool) -> ExitCode:
    if interrupted:
        return ExitCode.INTERRUPTED
    if counts.new or counts.drifted or counts.stale or counts.expired or counts.flaky:
        return ExitCode.VIOLATED
    if counts.not_judged:
        return ExitCode.NOT_JUDGED
    if not counts.conforms and not counts.deviates:
        return ExitCode.NOTHING
    return ExitCode.PASSED


def _sentence(
    outcome: VerdictOutcome, counts: Counts, clusters: Sequence[Cluster], stale: Sequence[StaleEntry]
) -> str:
    judged = counts.conforms + counts.deviates + counts.flaky
    rest = f"; {counts.not_judged} could not be judged" if counts.not_judged else ""
    if outcome is VerdictOutcome.PASSED:
        known = f", {counts.known} of them with known deviations only" if counts.known else ""
        return f"{judged} cells judged{known}."
    if outcome is VerdictOutcome.NOT_JUDGED:
        return f"{counts.not_judged} of {counts.cells} cells gave no ledger; the other {judged} hold."
    if outcome is VerdictOutcome.NOTHING:
        return f"None of {counts.cells} cells could be judged ({counts.unsupported} unsupported)."
    if outcome is VerdictOutcome.INTERRUPTED:
        return f"{judged} cells judged so far{rest}. The same command goes on from here."
    if clusters and clusters[0].standing is not Standing.KNOWN:
        return f"{_accusation(clusters)}{rest}."
    if counts.flaky:
        return f"{counts.flaky} cells gave two different ledgers in two identical runs{rest}."
    return f"{len(stale)} known deviations are stale or expired{rest}."


def _accusation(clusters: Sequence[Cluster]) -> str:
    """Name the first broken rule, every subject that breaks it, and what the smallest and the largest case show."""
    first = clusters[0]
    alike = [item for item in clusters if (item.rule, item.standing) == (first.rule, first.standing)]
    parts = [f"{item.subject} in {item.failing} of {item.judged} cells" for item in alike]
    shown = f"{first.got} where the contract says {first.expected} ({first.label})"
    if first.largest is not None:
        shown += f", {first.largest.got} where it says {first.largest.expected} ({first.largest.label})"
    return f"`{first.rule}` is broken by {', '.join(parts)}: {shown}"


def _stale_entry(entry_id: str, standing: str, cell_ids: list[str]) -> StaleEntry:
    what = "covers cells that now conform" if standing == "stale" else "has expired and still shows"
    return StaleEntry(
        known_id=entry_id,
        standing=standing,
        text=f"known deviation {entry_id} {what} ({len(cell_ids)} cells)",
        cell_ids=cell_ids,
    )
