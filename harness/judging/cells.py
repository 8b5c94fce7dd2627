"""The verdict on one cell: every rule of its contract asked, every finding held against the known deviations."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from ...scenarios import Scenario
from ...scenarios.known import KnownDeviation
from ..contract import RULES, CellBooks, Contract, Finding, NotJudged, draw_up, padding_rows
from ..contract.books import ReferenceRun
from ..ledger import CellError, CellRecord, Outcome
from .verdict import (
    Books,
    CellOutcome,
    CellVerdict,
    Deviation,
    Divergence,
    Figures,
    Standing,
    Trouble,
)

__all__ = ["Judged", "Reference", "figures_of", "formula_numbers", "judge_cell", "reproduce_line"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """The reference on the same scenario: its figures and, where curves are judged, its run."""

    cell_id: str
    figures: Figures
    run: ReferenceRun | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A cell's verdict with what the gate needs besides.

    Attributes:
        verdict: what is reported.
        stale: ids of known deviations that cover this cell and rule, but did not show.
        expired: ids of those that did show after their time.
    """

    verdict: CellVerdict
    stale: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()


def judge_cell(
    record: CellRecord,
    contract: Contract,
    known: Sequence[KnownDeviation],
    *,
    today: date,
    is_flaky: bool = False,
    rules: frozenset[str] | None = None,
    reference: Reference | None = None,
    is_informational: bool = False,
) -> Judged:
    """Judge one record.

    Args:
        record: a completed cell, an error or an unsupported pairing.
        contract: what it is judged by.
        known: the known deviations that may apply.
        today: for their expiry.
        is_flaky: whether a second run of the same cell gave another ledger.
        rules: the rules to judge by; None means all.
        reference: the reference on the same scenario; a cell is not compared with itself.
        is_informational: whether the gate only reports this subject: nothing about it is new, drifted, stale, expired.
    """
    line = reproduce_line(record.subject, record.scenario)
    blank: dict[str, Any] = {
        "id": record.cell_id,
        "subject": record.subject,
        "contract": contract.name,
        "scenario": record.scenario.to_mapping(),
        "label": record.scenario.label,
        "account": None,
        "rules_checked": [],
        "rules_unsupported": {},
        "deviations": [],
        "seconds": record.seconds,
        "reproduce": line,
    }
    if record.outcome is Outcome.ERROR:
        error = record.error or CellError(kind="error", message="its record does not say why")
        trouble = Trouble(kind=error.kind, message=error.message, traceback=error.traceback)
        return Judged(verdict=CellVerdict(**blank, verdict=CellOutcome.ERROR, error=trouble))
    if record.outcome is Outcome.UNSUPPORTED:
        return Judged(verdict=CellVerdict(**blank, verdict=CellOutcome.UNSUPPORTED, reason=record.reason))

    is_other = reference is not None and reference.cell_id != record.cell_id
    books = draw_up(record, contract, reference.run if reference and is_other else None)
    numbers = formula_numbers(books)
    checked: list[str] = []
    unsupported: dict[str, str] = {}
    deviations: list[Deviation] = []
    stale: list[str] = []
    expired: list[str] = []
    for rule in RULES.values():
        if rules is not None and rule.rule_id not in rules:
            continue
        findings = rule.judge(books)
        if isinstance(findings, NotJudged):
            unsupported[rule.rule_id] = findings.reason
            continue
        checked.append(rule.rule_id)
        entries = [
            entry
            for entry in known
            if entry.covers(
                rule=rule.rule_id,
                subject=record.subject,
                scenario=blank["scenario"],
                packages=record.versions,
                numbers=numbers,
            )
        ]
        if not findings and not is_informational:
            stale += [entry.id for entry in entries]
        for finding in findings:
            standing, entry = _standing(finding, entries, numbers, today)
            if is_informational and standing.fails:
                standing = Standing.INFORMATIONAL
            if standing is Standing.EXPIRED and entry is not None:
                expired.append(entry.id)
            deviations.append(_deviation(rule.rule_id, finding, standing, entry, line))

    outcome = CellOutcome.DEVIATES if deviations else CellOutcome.CONFORMS
    blank |= {"rules_checked": checked, "rules_unsupported": unsupported, "deviations": deviations}
    blank["account"] = _books(books, reference.figures if reference else None)
    verdict = CellVerdict(**blank, verdict=CellOutcome.FLAKY if is_flaky else outcome)
    return Judged(verdict=verdict, stale=tuple(stale), expired=tuple(expired))


def reproduce_line(subject: str, scenario: Scenario) -> str:
    """Return the command that runs this one cell again, from its differences to the default scenario."""
    axes = [
        f"--axis {name}={'none' if value is None else str(value).lower() if isinstance(value, bool) else value}"
        for name, value in scenario.differences().items()
        if name != "tier"
    ]
    tier = [f"--tier {scenario.tier.value}"] if scenario.tier is not type(scenario)().tier else []
    return " ".join(["stepaudit run --subject", shlex.quote(subject), *tier, *axes])


def figures_of(books: CellBooks) -> Figures:
    """Return the observed figures of a cell."""
    observed = books.observed
    M = books.expected.terms.M
    return Figures(
        optimizer_steps=observed.optimizer_steps,
        micro_batches=observed.micro_batches,
        scheduler_steps=observed.scheduler_steps,
        skipped_steps=observed.skipped_steps,
        epochs=observed.micro_batches / M if M else None,
        label_tokens=observed.label_tokens,
    )


def _books(books: CellBooks, reference: Figures | None) -> Books:
    claimed, expected = books.claimed, books.expected
    planned = list((claimed.planned_steps or {}).values())
    return Books(
        observed=figures_of(books),
        claimed=Figures(
            optimizer_steps=claimed.global_step,
            epochs=None if claimed.epoch is None else float(claimed.epoch),
            planned_steps=planned[0] if planned else None,
        ),
        expected=Figures(
            optimizer_steps=expected.optimizer_steps,
            micro_batches=expected.micro_batches,
            scheduler_steps=expected.scheduler_steps,
            skipped_steps=0,
            epochs=float(expected.epochs_after[-1]) if expected.epochs_after else 0.0,
            planned_steps=expected.terms.T,
        ),
        reference=reference,
        padding_rows=list(padding_rows(books)) if books.ranks else None,
    )


def _standing(
    finding: Finding, entries: Sequence[KnownDeviation], numbers: Mapping[str, float | None], today: date
) -> tuple[Standing, KnownDeviation | None]:
    """Hold a finding against the entries that cover it: the one whose wrong value agrees, else a drift."""
    if not entries:
        return Standing.NEW, None
    numbers = {**numbers, "expected": finding.due}
    for entry in entries:
        got = finding.got if entry.got is not None or finding.value is None else finding.value
        if entry.agrees(got, numbers, finding.within):
            return (Standing.EXPIRED if entry.is_expired(today) else Standing.KNOWN), entry
    return Standing.DRIFTED, entries[0]


def formula_numbers(books: CellBooks) -> Mapping[str, float | None]:
    """Return what a known deviation's formula may name."""
    scenario, terms = books.scenario, books.expected.terms
    letters = {name: getattr(terms, name) for name in ("B", "A", "R", "M", "U", "T", "E")}
    return {
        "rows": scenario.rows,
        "max_steps": scenario.max_steps,
        "epochs": scenario.epochs,
        "logging_steps": scenario.logging_steps,
        "resumed_at": _resumed_at(scenario),
        **letters,
    }


def _resumed_at(scenario: Scenario) -> int | None:
    """Return the optimizer step of the newest checkpoint before the interruption that a scenario asks for."""
    at = scenario.resume_at
    if at is None:
        return None
    every = scenario.save_steps or at
    return at // every * every


def _deviation(
    rule: str, finding: Finding, standing: Standing, entry: KnownDeviation | None, line: str
) -> Deviation:
    return Deviation(
        rule=rule,
        expected=finding.expected,
        got=finding.got,
        formula=finding.formula,
        first_divergence=Divergence(event=finding.event, update=finding.update, text=finding.text),
        reproduce=line,
        standing=standing,
        known_id=entry.id if entry else None,
    )
