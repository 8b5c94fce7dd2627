"""Diagnosis of tiny real loops: divisors from weight books, formulas, divergences, and a conforming trainer."""

from __future__ import annotations

import pytest
from real_cells import LOOPS, cells_of, runner_of
from stepaudit.harness.contract import RULES, contract_named
from stepaudit.harness.diagnosis import (
    Alignment,
    Rounds,
    divisor_of,
    explain_subject,
    explained_lines,
    side_by_side,
)
from stepaudit.harness.subjects import resolve
from stepaudit.scenarios import Scenario

SCENARIOS = [
    Scenario(rows=rows, grad_accum=accum, per_device_batch_size=batch, max_grad_norm=0.0, lengths=lengths)
    for rows, batch, accum in ((13, 2, 4), (9, 2, 2), (16, 1, 3), (7, 3, 2))
    for lengths in ("ragged", "equal")
]


@pytest.mark.parametrize(
    ("loop", "weight"),
    [
        ("token_mean", "1 / N"),
        ("missing", "1 / n"),
        ("mean_over_accum", "1 / (n·A)"),
        ("double", "1 / (N·A)"),
        ("padded", "1 / N_padded"),
        ("unshifted", "1 / N_unshifted"),
        ("summed", "1"),
        ("rows", "1 / b_window"),
    ],
)
def test_the_divisor_of_a_loop_is_read_from_its_books(loop, weight):
    """Every row of every update agrees with the divisor that the loop was written with."""
    found = divisor_of([cell.books for cell in cells_of(f"{LOOPS}:{loop}", SCENARIOS)])
    assert found.exact
    assert [case.weight for case in found.cases] == [weight]
    assert found.cases[0].rows == found.rows > 50
    assert found.cases[0].meaning
    assert found.foreign == 0


def test_a_divisor_that_depends_on_the_window_is_a_case_distinction():
    """Short windows are one case, full ones the other."""
    found = divisor_of([cell.books for cell in cells_of(f"{LOOPS}:short_windows_missing", SCENARIOS)])
    assert found.exact
    assert {(case.condition, case.weight) for case in found.cases} == {
        ("W < A", "1 / n"),
        ("elsewhere", "1 / N"),
    }


def explained(name, scenarios, **options):
    subject = resolve(name)
    return explain_subject(
        name,
        cells_of(name, scenarios),
        contract=contract_named(subject.contract),
        supports=subject.supports,
        run=runner_of(name),
        rounds=Rounds(probes=600, held_out=60),
        **options,
    )


def test_an_overrunning_loop_is_explained():
    """Formula, interaction, smallest scenario and divergence, from a loop that really overruns."""
    name = f"{LOOPS}:overruns"
    found = explained(
        name, [Scenario(rows=12, grad_accum=2, max_steps=limit) for limit in (1, 2, 3, 4, 6, 7)]
    )
    (figure,) = [item for item in found.figures if item.figure.name == "optimizer_steps"]
    assert figure.settled.candidate.text in {"T + U", "U + T"}
    assert figure.settled.held_out.right == figure.settled.held_out.of >= 60
    target = next(item for item in found.clusters if item.cluster.rule == "target")
    assert target.shrunk.minimal
    assert target.smallest.rows == 1
    assert any(line.differs and line.due == "–" for line in target.divergence.lines)
    text = "\n".join(explained_lines(found))
    assert "T + U" in text or "U + T" in text
    assert "no single simplification breaks it" in text


def test_a_conforming_trainer_has_nothing_to_explain():
    """It says so, and infers nothing."""
    found = explained(
        "plain", [Scenario(), Scenario(rows=13, grad_accum=4, epochs=2.0), Scenario(max_steps=7)]
    )
    assert found.conforms
    lines = list(explained_lines(found))
    assert lines[1].startswith("Nothing to explain: in 3 cells")


def test_books_are_aligned_by_what_the_rule_is_about():
    """Updates for counts, rows for weights; the marked line is the one where they part."""
    name = f"{LOOPS}:missing"
    (cell,) = cells_of(name, [Scenario(rows=8, grad_accum=2, max_grad_norm=0.0)])
    (finding, *_) = RULES["weight"].judge(cell.books)
    beside = side_by_side(cell.books, "weight", finding)
    assert beside.alignment is Alignment.ROW
    assert all(line.differs for line in beside.lines)
    assert all("times)" in line.seen for line in beside.lines)
    assert beside.text()[1].startswith("> update 1, row ")
    by_update = side_by_side(cell.books, "target", finding)
    assert by_update.alignment is Alignment.UPDATE
    assert by_update.lines[0].key == "update 1"
