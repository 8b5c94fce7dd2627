"""The whole diagnosis of one subject in a sweep: clusters, interactions, smallest scenarios, formulas, divergences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...scenarios import DatasetKind, ModelKind, Precision, Scenario, Tier
from ..contract import CellBooks, Contract, Finding
from ..contract.formulas import target_formula
from .clusters import FaultCluster, clusters_of
from .divergence import SideBySide, side_by_side
from .divisors import Divisor, divisor_of
from .expression import Expression
from .figures import FIGURES, Cell, Figure, Sample, sample_of
from .formulas import FormulaOf, Rounds, RunCells, Settled
from .hypotheses import Held, hypothesis_held
from .interaction import Interaction, interaction_of
from .quantities import quantities_of
from .rule_cells import FindingsByRule, RuleCells, findings_of, judgements_of
from .shrinking import Shrunk, shrink
from .space import Space

__all__ = ["Explained", "ExplainedCluster", "ExplainedFigure", "explain_subject"]

_SHOWN_CLUSTERS = 8
_TEMPLATES = 40
_SMALL = 400
"""cells whose weights are read for the divisor"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplainedFigure:
    """A figure that is not the contract's everywhere, or that was asked for.

    Attributes:
        deviating, cells: cells of the sweep in which it is not what the contract says, of those that have it.
        follows: how it follows from the observed optimizer steps, if that is all there is to it.
        settled: its formula; None where it only follows.
        example: a cell of the sweep in which it deviates, with its number, the contract's and the contract's formula.
        hypotheses: what was proposed for it.
    """

    figure: Figure
    deviating: int
    cells: int
    follows: Expression | None
    settled: Settled | None
    example: tuple[Scenario, int, int, str] | None
    hypotheses: tuple[Held, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplainedCluster:
    """One fault: a broken rule with its consequences.

    Attributes:
        interaction: when it shows, over the sweep's cells and the `ran` ones that were run to explain it.
        smallest: the reduced scenario, or the smallest failing one of the sweep (with `shrunk` None).
        divergence: both books where they part, in the smallest failing cell.
        divisor: what the weights were divided by, where the rule is about weights.
    """

    cluster: FaultCluster
    interaction: Interaction | None
    ran: int
    smallest: Scenario
    shrunk: Shrunk | None
    finding: Finding
    divergence: SideBySide
    divisor: Divisor | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """Everything about one subject; with no cluster and no figure there is nothing to explain.

    Attributes:
        cells: completed cells of the sweep; `not_run` have no books.
        stopped: runs without an end, which have no figures.
        crashed: kinds of crashes that were met, with their number.
    """

    subject: str
    contract: Contract
    cells: int
    not_run: int
    stopped: int
    clusters: tuple[ExplainedCluster, ...]
    more_clusters: int
    figures: tuple[ExplainedFigure, ...]
    crashed: Mapping[str, int]

    @property
    def conforms(self) -> bool:
        """Whether there is nothing to explain."""
        return not self.clusters and not any(item.deviating for item in self.figures)


def explain_subject(
    subject: str,
    cells: Sequence[Cell],
    *,
    contract: Contract,
    supports: Callable[[Scenario], str | None],
    run: RunCells | None,
    not_run: int = 0,
    figures: Sequence[Figure] = (),
    hypotheses: Sequence[str] = (),
    rules: frozenset[str] | None = None,
    rounds: Rounds | None = None,
    shrinks: bool = True,
) -> Explained:
    """Diagnose a subject.

    Args:
        subject: its name.
        cells: the completed cells of the sweep.
        contract: what it is judged by.
        supports: why it cannot run a scenario, or None.
        run: runs cells; None to use those of the sweep only.
        not_run: cells of the sweep without books.
        figures: the figures to infer; none means those that deviate.
        hypotheses: formulas that are proposed for the figures.
        rules: the rules to judge by; None means all.
        rounds: how much may be run.
        shrinks: whether scenarios are reduced, which runs some hundred cells a cluster.
    """
    templates = tuple(dict.fromkeys(_template(cell.books.scenario, supports) for cell in cells))[:_TEMPLATES]
    formula = None
    if cells:
        space = Space(templates=templates, supports=supports, contract=contract)
        formula = FormulaOf(contract, space, run, rounds)
        formula.add(cells)
    findings = [findings_of(cell.books, rules) for cell in cells]
    clusters = clusters_of(judgements_of(findings))
    shown = []
    for figure in figures or FIGURES.values():
        is_worth = figures or clusters or figure.rule is not None
        if formula is not None and is_worth:
            item = _explained_figure(figure, cells, contract, formula, hypotheses, asked=bool(figures))
            shown += [item] if item is not None else []
    more = [cell for cell in formula.everything if cell not in cells] if formula else []
    explained = tuple(
        _explained_cluster(cluster, cells, findings, more, contract, supports, run if shrinks else None)
        for cluster in clusters[:_SHOWN_CLUSTERS]
    )
    crashed: dict[str, int] = {}
    for record in formula.failed if formula else ():
        message = record.error.message if record.error else record.reason
        crashed[message] = crashed.get(message, 0) + 1
    return Explained(
        subject=subject,
        contract=contract,
        cells=len(cells),
        not_run=not_run,
        stopped=sum(cell.books.observed.stopped for cell in cells),
        clusters=explained,
        more_clusters=max(0, len(clusters) - _SHOWN_CLUSTERS),
        figures=tuple(shown),
        crashed=crashed,
    )


def _explained_cluster(
    cluster: FaultCluster,
    cells: Sequence[Cell],
    findings: Sequence[FindingsByRule],
    more: Sequence[Cell],
    contract: Contract,
    supports: Callable[[Scenario], str | None],
    run: RunCells | None,
) -> ExplainedCluster:
    judged = {cells[number].books.scenario: number in cluster.failing for number in sorted(cluster.judged)}
    reducer = RuleCells(cluster.rule, contract, supports, run)
    reducer.judge(more)
    smallest = min(cluster.failing, key=lambda number: _size(cells[number].books))
    books, shrunk = cells[smallest].books, None
    finding = (findings[smallest][cluster.rule] or [])[0]
    if run is not None:
        shrunk = shrink(books.scenario, reducer.still_fails)
        reduced = reducer.books.get(shrunk.scenario)
        if reduced is not None:
            books, finding = reduced, (findings_of(reduced, None)[cluster.rule] or [finding])[0]
    divisor = None
    if cluster.rule in {"weight", "leak"}:
        chosen = [cells[number].books for number in sorted(cluster.failing)[:_SMALL]]
        divisor = divisor_of(chosen)
    ran = {scenario: fails for scenario, fails in reducer.judged.items() if scenario not in judged}
    judged |= ran
    interaction = interaction_of(
        quantities_of(list(judged), contract), np.array(list(judged.values()), dtype=np.bool_)
    )
    return ExplainedCluster(
        cluster=cluster,
        interaction=interaction,
        ran=len(ran),
        smallest=books.scenario,
        shrunk=shrunk,
        finding=finding,
        divergence=side_by_side(books, cluster.rule, finding),
        divisor=divisor,
    )


def _explained_figure(
    figure: Figure,
    cells: Sequence[Cell],
    contract: Contract,
    formula: FormulaOf,
    hypotheses: Sequence[str],
    *,
    asked: bool,
) -> ExplainedFigure | None:
    sample = sample_of(figure, cells)
    if not sample.cells or not (sample.deviating or asked):
        return None
    follows = sample.consequence(contract)
    settled = None
    if sample.deviating and (follows is None or asked):
        settled = formula.settle(figure)
    proposed = hypotheses if figure.name in {"optimizer_steps", "planned_bar"} or asked else ()
    whole = sample_of(figure, formula.everything) if settled is not None else sample
    return ExplainedFigure(
        figure=figure,
        deviating=sample.deviating,
        cells=len(sample.cells),
        follows=follows,
        settled=settled,
        example=_example(sample),
        hypotheses=tuple(held for text in proposed for held in hypothesis_held(text, whole)),
    )


def _example(sample: Sample) -> tuple[Scenario, int, int, str] | None:
    """Return the deviating cell with the largest figures: there a formula shows best."""
    deviating = np.flatnonzero(sample.observed != sample.expected)
    if not len(deviating):
        return None
    number = int(max(deviating, key=lambda item: sample.expected[item]))
    books = sample.cells[number].books
    formula = target_formula(books.scenario, books.expected.terms, books.contract)
    return books.scenario, int(sample.observed[number]), int(sample.expected[number]), formula


def _template(scenario: Scenario, supports: Callable[[Scenario], str | None]) -> Scenario:
    """Return the scenario with the fields that are drawn at plain values, and in the trace tier if that can be run."""
    limit = scenario.max_steps if scenario.dataset is DatasetKind.ITERABLE else None
    plain = scenario.with_(
        rows=16,
        per_device_batch_size=2,
        grad_accum=1,
        max_steps=limit,
        epochs=1.0,
        drop_last=False,
        resume_at=None,
    )
    traced = plain.with_(tier=Tier.TRACE, model=ModelKind.TRACER, precision=Precision.FP32)
    return traced if supports(traced) is None else plain


def _size(books: CellBooks) -> tuple[int, int, str]:
    return books.expected.micro_batches, len(books.scenario.label), books.scenario.label
