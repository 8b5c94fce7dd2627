"""What the rules say of cells, those of a sweep and those that are run to explain them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...scenarios import Scenario
from ..contract import RULES, CellBooks, Contract, Finding, NotJudged
from .clusters import Judgement
from .figures import Cell, cell_of
from .formulas import RunCells

__all__ = ["FindingsByRule", "RuleCells", "findings_of", "judgements_of"]

FindingsByRule = dict[str, list[Finding] | None]


def findings_of(books: CellBooks, rules: frozenset[str] | None) -> FindingsByRule:
    """Ask every rule; None where it cannot judge."""
    asked = {}
    for rule_id, rule in RULES.items():
        if rules is None or rule_id in rules:
            found = rule.judge(books)
            asked[rule_id] = None if isinstance(found, NotJudged) else found
    return asked


def judgements_of(findings: Sequence[FindingsByRule]) -> dict[str, Judgement]:
    """Return, for every rule, which cells break it and which it could judge."""
    rules = findings[0] if findings else {}
    return {
        rule: Judgement(
            failing=frozenset(number for number, found in enumerate(findings) if found[rule]),
            judged=frozenset(number for number, found in enumerate(findings) if found[rule] is not None),
        )
        for rule in rules
    }


class RuleCells:
    """Answers the shrinker by running cells; keeps what the rule says of every cell, and the books of what fails."""

    def __init__(
        self, rule: str, contract: Contract, supports: Callable[[Scenario], str | None], run: RunCells | None
    ) -> None:
        self._rule = rule
        self._contract = contract
        self._supports = supports
        self._run = run
        self.books: dict[Scenario, CellBooks] = {}
        self.judged: dict[Scenario, bool] = {}

    def judge(self, cells: Sequence[Cell]) -> None:
        """Ask the rule."""
        for cell in cells:
            found = RULES[self._rule].judge(cell.books)
            if not isinstance(found, NotJudged):
                self.judged[cell.books.scenario] = bool(found)
                if found:
                    self.books[cell.books.scenario] = cell.books

    def still_fails(self, scenarios: Sequence[Scenario]) -> list[bool]:
        """Run those that the subject supports."""
        runnable = [scenario for scenario in scenarios if self._supports(scenario) is None]
        records = self._run(runnable) if self._run is not None and runnable else ()
        self.judge([cell for record in records if (cell := cell_of(record, self._contract)) is not None])
        return [self.judged.get(scenario, False) for scenario in scenarios]
