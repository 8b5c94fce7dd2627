"""The diagnosis that goes into a verdict: what the cells of a run tell by themselves, in bounded time; runs no cell."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...scenarios import Scenario, scenario_from_mapping
from ..contract import RULES, Contract, NotJudged, contract_named
from ..contract.formulas import target_formula
from ..judging.verdict import BookLine, CellVerdict, Cluster, Diagnosis, InferredFormula, Standing, Verdict
from ..ledger import CellRecord
from .divergence import side_by_side
from .divisors import Divisor, divisor_of
from .expression import Expression, Leaf, definitions_of, leaves_of
from .figures import FIGURES, Cell, Figure, Sample, cell_of, sample_of
from .formulas import Rounds
from .inference import Candidate, Grammar, infer
from .interaction import Interaction, interaction_of
from .quantities import DEFINITIONS, quantities_of
from .space import Space

__all__ = ["Bounds", "diagnosed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """How much a diagnosis may take.

    Attributes:
        seconds: of this process's processor, so that a busy machine changes no verdict; what would begin after
            them is left out, and the diagnosis says so.
        cells: cells of a subject in which conditions are looked for.
        ledgers: cells of a subject whose ledgers are read for a formula, half of them failing ones.
        enough: fewer cells than this give no formula: too many would fit.
    """

    seconds: float = 20.0
    cells: int = 4000
    ledgers: int = 400
    enough: int = 8


_OUT_OF_TIME = "left out for want of time; `stepaudit explain` makes it"
_TARGETS = {"optimizer_steps", "global_step"}
"""figures that are T themselves, the symbol with which the contract's formula begins"""
_GOOD = 0.95
"""share of the cells that a formula must give to be shown"""
_TELLING = 0.5
"""share of the failing cells that meet the conditions, less that of the others, from which on they are shown"""


def diagnosed(
    verdict: Verdict, lookup: Callable[[str], CellRecord | None], bounds: Bounds | None = None
) -> Verdict:
    """Return the verdict with a diagnosis in every cluster; formulas are sought for clusters that are not known.

    A diagnosis that fails says so in its note: it never costs a run its verdict.

    Args:
        verdict: clusters come in the order in which they are worth the time.
        lookup: cell id to its record, or None where there is none.
        bounds: how much may be taken.
    """
    if not verdict.clusters:
        return verdict
    diagnosis = _Diagnoses(verdict, lookup, bounds or Bounds())
    order = sorted(verdict.clusters, key=lambda cluster: cluster.standing is Standing.KNOWN)
    made = {id(cluster): diagnosis.of(cluster) for cluster in order}
    clusters = [cluster.model_copy(update={"diagnosis": made[id(cluster)]}) for cluster in verdict.clusters]
    return verdict.model_copy(update={"clusters": clusters})


class _Diagnoses:
    """Diagnoses the clusters of one verdict; what several of them need is made once."""

    def __init__(self, verdict: Verdict, lookup: Callable[[str], CellRecord | None], bounds: Bounds) -> None:
        self._lookup = lookup
        self._bounds = bounds
        self._ends = time.process_time() + bounds.seconds
        self._verdicts = {cell.id: cell for cell in verdict.cells}
        self._cells: dict[str, list[CellVerdict]] = {}
        for cell in verdict.cells:
            self._cells.setdefault(cell.subject, []).append(cell)
        self._scenarios: dict[str, Scenario] = {}
        self._books: dict[str, Cell | None] = {}
        self._grammars: dict[tuple[str, bool], Grammar] = {}
        self._inferred: dict[tuple[str, str], InferredFormula | None] = {}

    def of(self, cluster: Cluster) -> Diagnosis:
        """Return what can be said of a cluster in the time that is left."""
        parts: dict[str, object] = {}
        notes: list[str] = []
        for name, make in (
            ("interaction", self._interaction),
            ("books", self._side_by_side),
            ("formula", self._formula),
        ):
            if time.process_time() > self._ends:
                notes.append(f"{name}: {_OUT_OF_TIME}")
                continue
            try:
                parts |= make(cluster)
            except Exception as error:  # noqa: BLE001  a diagnosis that fails must not cost a run its verdict
                notes.append(f"{name}: {type(error).__name__}: {error}")
        blank = {"interaction": "", "separates": False, "terms": [], "formula": None, "books": []}
        return Diagnosis.model_validate({**blank, "before": 0, "after": 0, **parts, "note": "; ".join(notes)})

    def _interaction(self, cluster: Cluster) -> dict[str, object]:
        """Look for the conditions; a scenario that ran in several tiers or environments counts as often."""
        failing = frozenset(cluster.cell_ids)
        judged = [cell for cell in self._cells[cluster.subject] if cluster.rule in cell.rules_checked]
        chosen = _both(judged, failing, self._bounds.cells)
        scenarios = [self._scenario(cell) for cell in chosen]
        fails = np.array([cell.id in failing for cell in chosen], dtype=np.bool_)
        found = interaction_of(quantities_of(scenarios, self._contract(chosen[0])), fails)
        if found is None:
            return {}
        if not _tells(found, int(fails.sum()), len(fails)):
            return {"interaction": f"no condition tells the {fails.sum():,} cells that fail from the others"}
        some = f" (of {len(chosen):,} of {len(judged):,} cells)" if len(chosen) < len(judged) else ""
        named = dict.fromkeys(word for word in str(found).split() if word in DEFINITIONS)
        names = dict.fromkeys(name for word in named for name in leaves_of(Leaf(name=word)))
        terms = [f"{name} = {DEFINITIONS[name]}" for name in names]
        return {"interaction": f"{found}{some}", "separates": found.exact, "terms": terms}

    def _side_by_side(self, cluster: Cluster) -> dict[str, object]:
        cell = self._cell(cluster.smallest)
        if cell is None:
            return {}
        findings = RULES[cluster.rule].judge(cell.books)
        if isinstance(findings, NotJudged) or not findings:
            return {}  # judged beside the reference, which is not here
        found = side_by_side(cell.books, cluster.rule, findings[0])
        if not any(line.differs for line in found.lines):
            return {}
        lines = [
            BookLine(key=line.key, due=line.due, seen=line.seen, differs=line.differs) for line in found.lines
        ]
        return {"books": lines, "before": found.before, "after": found.after}

    def _formula(self, cluster: Cluster) -> dict[str, object]:
        if cluster.standing is Standing.KNOWN:
            return {}
        key = (cluster.subject, cluster.rule)
        if key not in self._inferred:
            weights = cluster.rule in {"weight", "leak"}
            self._inferred[key] = self._divisor(cluster) if weights else self._figure(cluster)
        return {"formula": self._inferred[key]}

    def _figure(self, cluster: Cluster) -> InferredFormula | None:
        """Infer the figure that the rule is about, the first one that deviates."""
        figures = [figure for figure in FIGURES.values() if figure.rule == cluster.rule]
        if not figures:
            return None
        cells = self._read(cluster, self._bounds.ledgers)
        for figure in figures:
            sample = sample_of(figure, cells)
            if len(sample.cells) >= self._bounds.enough and sample.deviating:
                return self._inferred_from(sample, cells[0].books.contract)
        return None

    def _inferred_from(self, sample: Sample, contract: Contract) -> InferredFormula | None:
        scenarios = [cell.books.scenario for cell in sample.cells]
        follows = sample.consequence(contract)
        if follows is not None:
            return _shown(sample, follows, contract, right=len(scenarios), rivals=())
        grammar = self._grammar(sample.figure, contract)
        candidates = infer(grammar, scenarios, sample.observed, expected=sample.expected).candidates
        best = candidates[0]
        if best.cells < _GOOD * best.of or best.cells <= int((sample.observed == sample.expected).sum()):
            return None
        return _shown(sample, best.expression, contract, right=best.cells, rivals=candidates[1:])

    def _divisor(self, cluster: Cluster) -> InferredFormula | None:
        """Return what the weights were divided by, where one or two cases say it all."""
        failing = frozenset(cluster.cell_ids)
        books = [
            cell.books
            for cell in self._read(cluster, self._bounds.ledgers // 2)
            if cell.record.cell_id in failing
        ]
        divisor = divisor_of(books)
        if divisor is None or not divisor.exact or divisor.foreign:
            return None
        return InferredFormula(
            figure="weight of a label token",
            formula=_weights(divisor),
            numbers="",
            label="",
            where=[],
            contract=divisor.promised,
            right=sum(case.rows for case in divisor.cases),
            of=sum(case.of for case in divisor.cases),
            rivals=list(divisor.rivals),
        )

    def _read(self, cluster: Cluster, most: int) -> list[Cell]:
        failing = frozenset(cluster.cell_ids)
        judged = [cell for cell in self._cells[cluster.subject] if cluster.rule in cell.rules_checked]
        found = (self._cell(cell.id) for cell in _both(judged, failing, most))
        return [cell for cell in found if cell is not None]

    def _cell(self, cell_id: str) -> Cell | None:
        if cell_id not in self._books:
            record = self._lookup(cell_id)
            contract = self._contract(self._verdicts[cell_id])
            self._books[cell_id] = cell_of(record, contract) if record is not None else None
        return self._books[cell_id]

    def _scenario(self, cell: CellVerdict) -> Scenario:
        if cell.id not in self._scenarios:
            self._scenarios[cell.id] = scenario_from_mapping(cell.scenario)
        return self._scenarios[cell.id]

    def _grammar(self, figure: Figure, contract: Contract) -> Grammar:
        key = (contract.name, figure.name == "micro_batches")
        if key not in self._grammars:
            space = Space(templates=(Scenario(),), supports=lambda _: None, contract=contract)
            drawing = Rounds()
            probes = space.draw(drawing.probes, seed=drawing.seed)
            self._grammars[key] = Grammar(contract, probes, counts_micro_batches=key[1])
        return self._grammars[key]

    @staticmethod
    def _contract(cell: CellVerdict) -> Contract:
        return contract_named(cell.contract)


def _tells(found: Interaction, failing: int, cells: int) -> bool:
    """Return whether the failing cells meet the conditions so much more often that these are worth a word."""
    if found.exact:
        return True
    passing = max(cells - failing, 1)
    passing_inside = passing - (found.elsewhere - found.failing_elsewhere)
    return (failing - found.failing_elsewhere) / failing - passing_inside / passing >= _TELLING


def _both(cells: Sequence[CellVerdict], failing: frozenset[str], most: int) -> list[CellVerdict]:
    """Return at most so many cells in their order, failing and other ones alike, spread evenly over it."""
    if len(cells) <= most:
        return list(cells)
    bad = [number for number, cell in enumerate(cells) if cell.id in failing]
    good = [number for number, cell in enumerate(cells) if cell.id not in failing]
    bad = _spread(bad, max(most // 2, most - len(good)))
    return [cells[number] for number in sorted([*bad, *_spread(good, most - len(bad))])]


def _spread(numbers: list[int], most: int) -> list[int]:
    if len(numbers) <= most:
        return numbers
    return [numbers[at * len(numbers) // most] for at in range(most)]


def _shown(
    sample: Sample, expression: Expression, contract: Contract, *, right: int, rivals: Sequence[Candidate]
) -> InferredFormula:
    """Fill in the numbers of the deviating cell with the largest figures: there a formula shows best.

    Of several the label decides, not the order in which cells came, which is chance where workers share them.
    """
    deviating = np.flatnonzero(sample.observed != sample.expected)
    labels = [cell.books.scenario.label for cell in sample.cells]
    at = int(max(deviating, key=lambda number: (sample.expected[number], labels[number])))
    books = sample.cells[at].books
    quantities = quantities_of([books.scenario], contract).with_done(sample.done[at : at + 1])
    values = {name: str(column[0]) for name, column in quantities.columns.items() if not name.isdecimal()}
    values["epochs"] = f"{books.scenario.epochs:g}"
    text = str(expression)
    numbers = _filled(text, values)
    value = int(expression.value(quantities)[0])
    due = target_formula(books.scenario, books.expected.terms, contract)
    where = [f"{item} = {values[item.split(' = ')[0]]}" for item in definitions_of(expression)]
    where += ["done = optimizer steps that were made"] if "done" in leaves_of(expression) else []
    return InferredFormula(
        figure=sample.figure.title,
        formula=text,
        numbers=f"{numbers} = {value}" if numbers != str(value) else numbers,
        label=books.scenario.label,
        where=where,
        contract=due if sample.figure.name in _TARGETS else f"{sample.figure.name} = {due}",
        right=right,
        of=len(sample.cells),
        rivals=[candidate.text for candidate in rivals[:3]],
    )


def _filled(text: str, values: dict[str, str]) -> str:
    """Return a formula with numbers for its symbols; longer names first, so that T_floor is not T."""
    names = sorted(values, key=len, reverse=True)
    pattern = "|".join(re.escape(name) for name in names)
    return re.sub(rf"(?<![\w.])(?:{pattern})(?!\w)", lambda match: values[match[0]], text)


def _weights(divisor: Divisor) -> str:
    parts = []
    for case in divisor.cases:
        where = "" if case.condition in {"", "elsewhere"} else "where "
        when = f" {where}{case.condition}" if case.condition else ""
        parts.append(f"{case.weight}{when}{f' ({case.meaning})' if case.meaning else ''}")
    return "; ".join(parts)
