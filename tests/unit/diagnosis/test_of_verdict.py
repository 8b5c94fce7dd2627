"""The diagnosis in a verdict: right where the cells say it, bounded, and never the end of a run."""

import importlib.util
import sys
from pathlib import Path

import pytest
from stepaudit.harness.diagnosis.of_verdict import Bounds, diagnosed
from stepaudit.harness.judging.verdict import Standing
from stepaudit.scenarios import Scenario


def load(name):
    key = f"stepaudit_report_{name}"
    if key not in sys.modules:
        path = Path(__file__).parents[1] / "reports" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(key, path)
        sys.modules[key] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[key])
    return sys.modules[key]


@pytest.fixture(scope="module")
def verdict():
    """A loop that doubles its updates wherever it accumulates, over a grid."""
    verdicts = load("verdicts")
    cells = []
    points = [
        Scenario(rows=rows, grad_accum=accum, max_steps=limit)
        for rows in (8, 24, 60)
        for accum in (1, 2, 4)
        for limit in (3, 7, 10)
    ]
    for number, point in enumerate(points):
        doubled = point.grad_accum > 1
        cells.append(
            verdicts.overrun("plain", point, number, 2 * point.max_steps, 40)
            if doubled
            else verdicts.cell("plain", point, number)
        )
    return verdicts.verdict_of(cells, stale=[])


@pytest.fixture(scope="module")
def lookup(verdict):
    return load("ledgers").lookup_for(verdict)


def test_interaction_and_formula_are_those_of_the_cells(verdict, lookup):
    """Exactly the failing cells meet the conditions, and the formula gives every cell's updates, with its numbers."""
    found = diagnosed(verdict, lookup).clusters[0].diagnosis
    assert found.interaction == "grad_accum > 1: 18/18 fail; elsewhere 0/9"
    assert found.separates
    formula = found.formula
    assert formula.figure == "optimizer steps"
    assert (formula.right, formula.of) == (27, 27)
    assert formula.numbers.endswith(" = 20")
    assert formula.contract.startswith("T = max_steps = 10")
    assert not found.note


def test_the_books_lie_side_by_side_where_they_part(verdict, lookup):
    """The first line that differs is the update after the last one due."""
    cluster = diagnosed(verdict, lookup).clusters[0]
    found = cluster.diagnosis
    assert next(line.key for line in found.books if line.differs) == "update 4"
    assert all(line.due == "–" for line in found.books if line.key == "update 4")


def test_out_of_time_is_said(verdict, lookup):
    """Without time there is a verdict all the same, and every part of the diagnosis says that it is missing."""
    for cluster in diagnosed(verdict, lookup, Bounds(seconds=0.0)).clusters:
        assert cluster.diagnosis.interaction == ""
        assert cluster.diagnosis.formula is None
        for part in ("interaction", "books", "formula"):
            assert (
                f"{part}: left out for want of time; `stepaudit explain` makes it" in cluster.diagnosis.note
            )


def test_trouble_costs_a_part_and_no_verdict(verdict):
    """A store that cannot be read takes away what needs ledgers, and the note says why."""

    def broken(cell_id):
        raise OSError(f"disk gone at {cell_id}")

    result = diagnosed(verdict, broken)
    assert result.model_copy(update={"clusters": verdict.clusters}) == verdict
    found = result.clusters[0].diagnosis
    assert found.interaction.startswith("grad_accum > 1")
    assert "formula: OSError: disk gone at" in found.note


def test_lost_ledgers_are_no_trouble(verdict):
    """Where a record is gone the conditions are found all the same: they need scenarios only."""
    found = diagnosed(verdict, lambda _: None).clusters[0].diagnosis
    assert found.separates
    assert found.formula is None
    assert found.books == []
    assert not found.note


def test_few_cells_give_no_formula(verdict, lookup):
    """Too many formulas fit them."""
    found = diagnosed(verdict, lookup, Bounds(enough=28)).clusters[0].diagnosis
    assert found.formula is None


def test_known_deviations_get_no_formula(verdict, lookup):
    """Their reason is known; the conditions are shown, so that a reader sees whether it is still the same fault."""
    known = [cluster.model_copy(update={"standing": Standing.KNOWN}) for cluster in verdict.clusters]
    for cluster in diagnosed(verdict.model_copy(update={"clusters": known}), lookup).clusters:
        assert cluster.diagnosis.formula is None
        assert cluster.diagnosis.separates


def test_what_no_condition_separates_is_said(verdict, lookup):
    """Cells that fail like dice get no spurious condition."""
    large = load("large").large_verdict(load("verdicts"), 1200)
    found = diagnosed(large, lambda _: None).clusters[0].diagnosis
    assert not found.separates
    assert found.interaction.startswith("no condition tells the ")
    assert found.interaction.endswith(" cells that fail from the others")


def test_a_pass_is_left_alone(lookup):
    """Without a cluster nothing is looked for."""
    passed = load("verdicts").passed_verdict().model_copy(update={"clusters": []})
    assert diagnosed(passed, lookup) is passed
