"""The museum judged: each exhibit's bad release must break its rule as told, its fixed release must keep it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from ...scenarios.known import KnownDeviation
from ...scenarios.museum import Exhibit
from ...scenarios.selection import parse_selection
from ...scenarios.vocabulary import SCENARIO_VOCABULARY
from ..contract import RULES
from ..ledger import CellRecord
from .run import CellTerms
from .verdict import CellOutcome, CellVerdict, Deviation, ExhibitVerdict, Shown, Standing

__all__ = ["Places", "exhibit_terms", "exhibits_shown", "museum_sentence", "places_of"]

Places = Mapping[tuple[str, str], str]
"""subject and scenario label to cell id"""


def places_of(records: Iterable[CellRecord]) -> dict[tuple[str, str], str]:
    """Return where each record belongs."""
    return {(record.subject, record.scenario.label): record.cell_id for record in records}


def exhibit_terms(exhibits: Sequence[Exhibit], places: Places) -> dict[str, CellTerms]:
    """Return what the cells of a museum are judged by, by cell id.

    The bad release's deviation is a known one, with its exact wrong value, so that the gate treats an exhibit like any
    known deviation: seen as told it passes, gone it is stale, another value is a drift. The fixed release is judged
    by the same rule and nothing is known about it.
    """
    terms: dict[str, CellTerms] = {}
    for exhibit in exhibits:
        for subject in (exhibit.bad, exhibit.fixed):
            cell_id = places.get((subject, exhibit.scenario.label))
            if cell_id is None:
                continue
            known = (_known(exhibit),) if subject == exhibit.bad else ()
            before = terms.get(cell_id)
            terms[cell_id] = CellTerms(
                rules=frozenset({exhibit.rule}) | (before.rules if before else frozenset()),
                contract=exhibit.contract,
                known=(*(before.known if before else ()), *known),
            )
    return terms


def exhibits_shown(
    exhibits: Sequence[Exhibit], cells: Sequence[CellVerdict], places: Places
) -> list[ExhibitVerdict]:
    """Return the exhibits as the run shows them."""
    by_id = {cell.id: cell for cell in cells}

    def cell_of(subject: str, exhibit: Exhibit) -> CellVerdict | None:
        return by_id.get(places.get((subject, exhibit.scenario.label), ""))

    return [
        _shown(exhibit, cell_of(exhibit.bad, exhibit), cell_of(exhibit.fixed, exhibit))
        for exhibit in exhibits
    ]


def museum_sentence(shown: Sequence[ExhibitVerdict]) -> str:
    """Return the verdict on a museum in one sentence."""
    confirmed = [exhibit for exhibit in shown if exhibit.confirmed]
    head = f"{len(confirmed)} of {len(shown)} exhibits confirmed"
    failing = next((exhibit for exhibit in shown if not exhibit.confirmed), None)
    if failing is None:
        return f"{head}: each bad release deviates as told, and each fixed one keeps the rule."
    return f"{head}; `{failing.id}`: {failing.trouble}."


def _known(exhibit: Exhibit) -> KnownDeviation:
    return KnownDeviation(
        id=exhibit.id,
        rule=exhibit.rule,
        subject="*",
        versions=(),
        where=parse_selection("", SCENARIO_VOCABULARY),
        when=None,
        got=exhibit.got,
        got_formula=None,
        reason=exhibit.title,
        upstream=exhibit.upstream,
        owner="museum",
        added=date.min,
        expires=date.max,
    )


def _shown(exhibit: Exhibit, bad: CellVerdict | None, fixed: CellVerdict | None) -> ExhibitVerdict:
    deviation = _deviation(bad, exhibit.rule)
    trouble = _trouble(exhibit, bad, fixed)
    return ExhibitVerdict(
        id=exhibit.id,
        project=exhibit.project,
        title=exhibit.title,
        rule=exhibit.rule,
        statement=RULES[exhibit.rule].statement,
        story=exhibit.story,
        upstream=exhibit.upstream,
        label=exhibit.scenario.label,
        expected=deviation.expected if deviation else "",
        formula=deviation.formula if deviation else "",
        first_divergence=deviation.first_divergence if deviation else None,
        bad=_release(exhibit.bad, bad, exhibit.rule),
        fixed=_release(exhibit.fixed, fixed, exhibit.rule),
        confirmed=not trouble,
        trouble=trouble,
        reproduce=[cell.reproduce for cell in (bad, fixed) if cell],
    )


def _release(subject: str, cell: CellVerdict | None, rule: str) -> Shown:
    deviation = _deviation(cell, rule)
    bare, _, pins = subject.partition("[")
    return Shown(
        subject=subject,
        release=pins.rstrip("]").replace(",", ", ").replace("==", " ") or bare.replace("@", " "),
        cell_id=cell.id if cell else None,
        verdict=cell.verdict if cell else None,
        got=deviation.got if deviation else "",
        optimizer_steps=cell.account.observed.optimizer_steps if cell and cell.account else None,
    )


def _deviation(cell: CellVerdict | None, rule: str) -> Deviation | None:
    return next((item for item in cell.deviations if item.rule == rule), None) if cell else None


def _trouble(exhibit: Exhibit, bad: CellVerdict | None, fixed: CellVerdict | None) -> str:
    """Return why an exhibit is not confirmed; empty where it is."""
    for name, cell in ((exhibit.bad, bad), (exhibit.fixed, fixed)):
        if cell is None:
            return f"{name} did not run"
        if cell.verdict in {CellOutcome.ERROR, CellOutcome.UNSUPPORTED, CellOutcome.FLAKY}:
            reason = cell.error.message if cell.error else cell.reason
            return f"{name}: {cell.verdict.value}: {reason}".rstrip(": ")
        if exhibit.rule not in cell.rules_checked:
            return f"{name}: rule {exhibit.rule} cannot be judged: {cell.rules_unsupported.get(exhibit.rule, '')}"
    deviation, again = _deviation(bad, exhibit.rule), _deviation(fixed, exhibit.rule)
    if deviation is None:
        return f"{exhibit.bad} keeps the rule"
    if deviation.standing is not Standing.KNOWN:
        return f"{exhibit.bad}: {deviation.got}, where the exhibit tells of {exhibit.got}"
    if again is not None:
        return f"{exhibit.fixed} breaks the rule too: {again.got}"
    return ""
