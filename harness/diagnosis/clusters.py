"""Broken rules that are one fault, shown as one: what fails only where an earlier rule fails is its consequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..contract import RULES

__all__ = ["FaultCluster", "Judgement", "clusters_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """One rule over the cells of one subject.

    Attributes:
        failing: positions of the cells that break it.
        judged: positions of the cells that it could judge.
    """

    failing: frozenset[int]
    judged: frozenset[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultCluster:
    """A rule that is broken, with the rules that are broken only where it is.

    Attributes:
        rule: the first one in the rules' order, which is from cause to consequence.
        failing, judged: cells of this rule.
        consequences: rule to the number of its failing cells, all of them among `failing`.
    """

    rule: str
    failing: frozenset[int]
    judged: frozenset[int]
    consequences: Mapping[str, int]


def clusters_of(judgements: Mapping[str, Judgement]) -> tuple[FaultCluster, ...]:
    """Group the broken rules of one subject by nested sets of failing cells.

    Args:
        judgements: rule id to its judgement; rules without failing cells are left out.
    """
    leads: dict[str, dict[str, int]] = {}
    order = list(RULES)
    for rule in sorted(judgements, key=order.index):
        failing = judgements[rule].failing
        if not failing:
            continue
        above = [lead for lead in leads if failing <= judgements[lead].failing]
        if above:
            nearest_lead = min(above, key=lambda lead: len(judgements[lead].failing))
            leads[nearest_lead][rule] = len(failing)
        else:
            leads[rule] = {}
    return tuple(
        FaultCluster(
            rule=lead,
            failing=judgements[lead].failing,
            judged=judgements[lead].judged,
            consequences=consequences,
        )
        for lead, consequences in leads.items()
    )
