"""Two runs beside each other: which deviations are new, fixed or other ones, and which cells only one of them has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .comparison_records import (
    CellComparison,
    Change,
    Comparison,
    ComparisonCounts,
    Difference,
    EnvironmentDifference,
    Side,
)
from .curve_comparison import CurveSet, compared_curves
from .verdict import Books, CellOutcome, CellVerdict, ExitCode, Figures, Verdict

__all__ = ["RunSide", "compare_runs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSide:
    """One of the two runs.

    Attributes:
        source: where it lies, for people.
        verdict: its verdict.
        curves: of its cells that have a replay, by cell id.
        subject: the one subject to look at; None means all, paired by name.
    """

    source: str
    verdict: Verdict
    curves: Mapping[str, CurveSet]
    subject: str | None = None

    def cells(self) -> dict[tuple[str, str], CellVerdict]:
        """Return the cells by what pairs them: subject, unless one was chosen, and scenario."""
        return {
            ("" if self.subject else cell.subject, json.dumps(cell.scenario, sort_keys=True)): cell
            for cell in self.verdict.cells
            if self.subject in (None, cell.subject)
        }


def compare_runs(left: RunSide, right: RunSide) -> Comparison:
    """Compare run A with run B: counts exactly, curves within the noise of the runs, missing cells strictly."""
    ours, theirs = left.cells(), right.cells()
    cells = [
        _compared(ours.get(key), theirs.get(key), left.curves, right.curves)
        for key in dict.fromkeys([*ours, *theirs])
    ]
    cells.sort(key=lambda cell: list(Change).index(cell.change))
    changes = [cell.change for cell in cells]
    counts = ComparisonCounts(
        compared=sum(cell.compared for cell in cells),
        **{change.name.lower(): changes.count(change) for change in Change},
    )
    return Comparison(
        exit_code=int(_exit_code(counts)),
        sentence=_sentence(counts, left, right),
        a=_side(left),
        b=_side(right),
        environment=_environment(left.verdict, right.verdict),
        counts=counts,
        cells=cells,
    )


def _compared(
    left: CellVerdict | None,
    right: CellVerdict | None,
    left_curves: Mapping[str, CurveSet],
    right_curves: Mapping[str, CurveSet],
) -> CellComparison:
    one = left or right
    assert one is not None
    ours, theirs = _judged_books(left), _judged_books(right)
    change, differences, curves, compared = Change.UNCHANGED, list[Difference](), dict[str, str](), False
    if left is None or right is None:
        change = Change.ONLY_A if right is None else Change.ONLY_B
    elif CellOutcome.UNSUPPORTED in (left.verdict, right.verdict):
        if left.verdict is not right.verdict:
            change = Change.ONLY_A if right.verdict is CellOutcome.UNSUPPORTED else Change.ONLY_B
            differences.append(Difference(what="supported", a=_supported(left), b=_supported(right)))
    elif ours is None or theirs is None:
        change = Change.NOT_JUDGED
        differences.append(Difference(what="outcome", a=_outcome(left), b=_outcome(right)))
    else:
        compared = True
        change, differences = _by_rules(left, right)
        figures = [*_figures(ours, theirs)]
        found = compared_curves(left_curves.get(left.id), right_curves.get(right.id))
        curves = found.marks
        figures += found.differences
        if figures and change is Change.UNCHANGED:  # a fix, or a new fault, comes with other figures
            change = Change.DRIFTED
        differences += figures
    return CellComparison(
        change=change,
        compared=compared,
        subject_a=left.subject if left else None,
        subject_b=right.subject if right else None,
        id_a=left.id if left else None,
        id_b=right.id if right else None,
        label=one.label,
        scenario=one.scenario,
        differences=differences,
        curves=curves,
        reproduce=(right or one).reproduce,
    )


def _by_rules(left: CellVerdict, right: CellVerdict) -> tuple[Change, list[Difference]]:
    """Compare what each rule found; a rule that was asked in A and is not in B is no conforming one."""
    was, now = _broken(left), _broken(right)
    changes, differences = set[Change](), []
    for rule in dict.fromkeys([*left.rules_checked, *right.rules_checked]):
        a, b = was.get(rule), now.get(rule)
        if rule not in right.rules_checked:
            changes.add(Change.DRIFTED)
            why = right.rules_unsupported.get(rule, "not asked")
            differences.append(Difference(what=f"rule {rule}", a=a or "holds", b=f"not judged: {why}"))
        elif a != b:
            changes.add(Change.NEW if a is None else Change.FIXED if b is None else Change.DRIFTED)
            nothing = "holds" if rule in left.rules_checked else "not judged"
            differences.append(Difference(what=f"rule {rule}", a=a or nothing, b=b or "holds"))
    worst = next((change for change in (Change.NEW, Change.DRIFTED, Change.FIXED) if change in changes), None)
    return worst or Change.UNCHANGED, differences


def _broken(cell: CellVerdict) -> dict[str, str]:
    """Return what each broken rule found, its findings in order."""
    found: dict[str, list[str]] = {}
    for item in cell.deviations:
        found.setdefault(item.rule, []).append(f"{item.got}, expected {item.expected}")
    return {rule: "; ".join(texts) for rule, texts in found.items()}


def _figures(left: Books, right: Books) -> Iterable[Difference]:
    """Compare what was observed and what was claimed, figure by figure, with `==`."""
    for witness in ("observed", "claimed"):
        a: Figures = getattr(left, witness)
        b: Figures = getattr(right, witness)
        for name in Figures.model_fields:
            if getattr(a, name) != getattr(b, name):
                yield Difference(
                    what=f"{witness} {name}", a=_shown(getattr(a, name)), b=_shown(getattr(b, name))
                )


def _judged_books(cell: CellVerdict | None) -> Books | None:
    """Return the books of a cell that was judged; a flaky one has books, but they are not those of its next run."""
    return cell.account if cell and cell.verdict in {CellOutcome.CONFORMS, CellOutcome.DEVIATES} else None


def _supported(cell: CellVerdict) -> str:
    return f"unsupported: {cell.reason}" if cell.verdict is CellOutcome.UNSUPPORTED else cell.verdict.value


def _outcome(cell: CellVerdict) -> str:
    return f"{cell.verdict.value}: {cell.error.message}" if cell.error else cell.verdict.value


def _shown(value: float | None) -> str:
    return "none" if value is None else repr(value)


def _side(side: RunSide) -> Side:
    verdict = side.verdict
    return Side(
        source=side.source,
        subject=side.subject,
        command=verdict.command,
        suite=verdict.suite,
        started=verdict.started,
        exit_code=verdict.exit_code,
    )


def _environment(left: Verdict, right: Verdict) -> list[EnvironmentDifference]:
    a, b = _facts(left), _facts(right)
    return [
        EnvironmentDifference(name=name, a=a.get(name), b=b.get(name))
        for name in dict.fromkeys([*a, *b])
        if a.get(name) != b.get(name)
    ]


def _facts(verdict: Verdict) -> dict[str, str]:
    here = verdict.environment
    own = {
        "stepaudit": here.stepaudit,
        "python": here.python,
        "platform": here.platform,
        "device": here.device,
    }
    return own | here.packages


def _exit_code(counts: ComparisonCounts) -> ExitCode:
    if not counts.compared:
        return ExitCode.NOTHING
    if counts.new or counts.drifted or counts.only_a or counts.only_b:
        return ExitCode.VIOLATED
    return ExitCode.NOT_JUDGED if counts.not_judged else ExitCode.PASSED


def _sentence(counts: ComparisonCounts, left: RunSide, right: RunSide) -> str:
    if not counts.compared:
        a, b = (
            ", ".join(sorted({cell.subject for cell in side.verdict.cells})) or "none"
            for side in (left, right)
        )
        return (
            f"Nothing could be compared: no cell of A and B has the same subject and scenario and was judged in both "
            f"(subjects of A: {a}; of B: {b})."
        )
    parts = [
        f"{number} {word}"
        for word, number in (
            ("new", counts.new),
            ("drifted", counts.drifted),
            ("only in A", counts.only_a),
            ("only in B", counts.only_b),
            ("not judged", counts.not_judged),
            ("fixed", counts.fixed),
            ("unchanged", counts.unchanged),
        )
        if number
    ]
    cells = "cell" if counts.compared == 1 else "cells"
    return f"{counts.compared} {cells} compared: {', '.join(parts)}."
