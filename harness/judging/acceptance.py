"""From a cluster of new deviations to the entries that make it known: exactly its cells, exactly its wrong values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product

from packaging.version import InvalidVersion, Version

from ...scenarios import ScenarioError
from ...scenarios.formula import FORMULA_NAMES, Formula, parse_formula
from ..contract import RULES, Contract, NotJudged, draw_up
from ..ledger import CellRecord
from .cells import formula_numbers
from .covering import covering_selections
from .verdict import CellVerdict, Cluster

__all__ = ["Proposal", "Wrong", "proposals_for", "version_ranges", "wrong_values"]

_LEAST_FINDINGS = 4
"""a formula that is held against fewer findings than this says nothing"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wrong:
    """One finding: what formulas may name, and the wrong value as a number where it is one."""

    numbers: Mapping[str, float | None]
    value: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """What an entry would say of the cells that it covers.

    Attributes:
        where: the scenarios, in the selection grammar.
        got: the exact wrong value; None where a formula gives it.
        got_formula: the formula.
        cells: how many cells of the run it covers.
    """

    where: str
    got: str | None
    got_formula: str | None
    cells: int


def proposals_for(
    cluster: Cluster, cells: Sequence[CellVerdict], wrong: Mapping[str, Sequence[Wrong]]
) -> list[Proposal]:
    """Return what has to be known for a cluster to be known, and nothing beyond it.

    One formula for all cells where there is one; else every wrong value by itself.

    Args:
        cluster: new deviations.
        cells: all cells of the run.
        wrong: the findings of the cluster's rule in each of its cells, by cell id.
    """
    mine = {cell.id: cell for cell in cells if cell.subject == cluster.subject}
    members = [mine[cell_id] for cell_id in cluster.cell_ids]
    ids = set(cluster.cell_ids)
    beside = [cell for cell in mine.values() if cell.id not in ids and cluster.rule in cell.rules_checked]
    by_value: dict[str, list[CellVerdict]] = {}
    for cell in members:
        for got in dict.fromkeys(item.got for item in cell.deviations if item.rule == cluster.rule):
            by_value.setdefault(got, []).append(cell)
    formula = (
        _formula([item for cell in members for item in wrong.get(cell.id, ())]) if len(by_value) > 1 else None
    )
    if formula is not None:
        return _proposed(members, beside, got_formula=formula.text)
    proposals = []
    for got, having in by_value.items():
        covered = {cell.id for cell in having}
        others = [*beside, *(cell for cell in members if cell.id not in covered)]
        proposals += _proposed(having, others, got=got)
    return proposals


def wrong_values(record: CellRecord, contract: Contract, rule: str) -> list[Wrong]:
    """Return what a rule finds in a cell, as numbers."""
    books = draw_up(record, contract)
    findings = RULES[rule].judge(books)
    if isinstance(findings, NotJudged):
        return []
    numbers = formula_numbers(books)
    return [Wrong(numbers={**numbers, "expected": item.due}, value=item.value) for item in findings]


def version_ranges(packages: Mapping[str, str]) -> list[str]:
    """Return a range for each package: from the version that was audited to the next one that may break things."""
    ranges = []
    for name, text in sorted(packages.items()):
        try:
            version = Version(text)
        except InvalidVersion:
            continue
        following = f"{version.major + 1}" if version.major else f"0.{version.minor + 1}"
        ranges.append(f"{name}>={version.public},<{following}")
    return ranges


def _proposed(
    inside: Sequence[CellVerdict],
    outside: Sequence[CellVerdict],
    *,
    got: str | None = None,
    got_formula: str | None = None,
) -> list[Proposal]:
    found = covering_selections([cell.scenario for cell in inside], [cell.scenario for cell in outside])
    return [
        Proposal(where=where, got=got, got_formula=got_formula, cells=len(group)) for where, group in found
    ]


def _formula(wrong: Sequence[Wrong]) -> Formula | None:
    """Return the shortest formula that gives every wrong value, if there is one among the small ones."""
    if len(wrong) < _LEAST_FINDINGS:
        return None
    for text in _candidates():
        formula = parse_formula(text)
        if all(_gives(formula, item) for item in wrong):
            return formula
    return None


def _candidates() -> list[str]:
    """Return small formulas, the plainest first: what is expected comes before the symbols that it is made of."""
    names = sorted(FORMULA_NAMES, key=lambda name: name != "expected")
    pairs = list(permutations(names, 2))
    return [
        "0",
        *names,
        *(f"{name} {sign} {number}" for number in "12" for name, sign in product(names, "+-*")),
        *(f"{left} {sign} {right}" for sign, (left, right) in product("*+-", pairs)),
        *(f"{left} {sign} {right} {last} 1" for sign, last, (left, right) in product("+-*", "+-", pairs)),
        *(f"{left} // {right}" for left, right in pairs),
        *(f"ceil({left} / {right})" for left, right in pairs),
        "max_steps * ceil(T / U)",
        "T * ceil(T / U)",
    ]


def _gives(formula: Formula, wrong: Wrong) -> bool:
    try:
        return formula.value(wrong.numbers) == wrong.value
    except ScenarioError:  # a number that the cell does not have, or a division by zero
        return False
