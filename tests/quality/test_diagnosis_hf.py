"""Does the fuzz still find the accounting faults of today's Trainer, each reduced to its smallest scenario?"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from stepaudit.harness.cli.fuzz import _Judge
from stepaudit.harness.contract import contract_named
from stepaudit.harness.diagnosis import simplifications
from stepaudit.harness.diagnosis.fuzzing import FuzzOptions, fuzz
from stepaudit.harness.subjects import resolve
from stepaudit.scenarios import DatasetKind, LossProtocol

for folder in ("diagnosis", "contract"):
    sys.path.append(str(Path(__file__).parents[1] / "unit" / folder))

from cell_runs import freeze_heap  # noqa: E402
from real_cells import runner_of  # noqa: E402

BUDGET_S = 150.0
"""cells of a run without an end take a second; the search itself needs a few hundred others"""


@pytest.fixture(scope="module")
def searched():
    """A fuzz of hf in this process, judged without known deviations: every finding counts as new."""
    freeze_heap()
    subject = resolve("hf")
    contract = contract_named(subject.contract)
    judge, run = _Judge(contract, ()), runner_of("hf")

    def verdicts(scenarios):
        return [judge.broken(record) for record in run(scenarios)]

    options = FuzzOptions(budget_s=BUDGET_S, seed=1)
    return fuzz(verdicts, contract=contract, supports=subject.supports, options=options), verdicts, subject


@pytest.mark.timeout(900)
def test_the_faults_of_today_are_found(searched):
    """What a person can look up in the issues, and what nobody had reported."""
    result, _, _ = searched
    shown = [
        (rule, item.shrunk.scenario)
        for item in result.findings
        for rule in (item.broken.rule, *(other.rule for other in item.also))
    ] + [(broken.rule, scenario) for broken, scenario in result.cut_short]
    found = {
        "ignored divisor": any(
            rule == "weight" and item.loss_protocol is LossProtocol.IGNORED for rule, item in shown
        ),
        "tail of a pass leaks": any(
            rule == "window" and item.dataset is DatasetKind.ITERABLE for rule, item in shown
        ),
        "short passes never end": any(
            rule == "target" and item.dataset is DatasetKind.ITERABLE and item.grad_accum > 1
            for rule, item in shown
        ),
        "max_steps = 0": any(rule == "target" and item.max_steps == 0 for rule, item in shown),
        "epoch of unsized data": any(
            rule == "epoch" and item.dataset is DatasetKind.ITERABLE for rule, item in shown
        ),
        "drop_last of unsized data": any(
            rule == "coverage" and item.drop_last and item.dataset is DatasetKind.ITERABLE
            for rule, item in shown
        ),
    }
    assert all(found.values()), (found, [(rule, item.label) for rule, item in shown])


@pytest.mark.timeout(900)
def test_no_single_simplification_of_a_finding_keeps_failing(searched):
    """Asked again, not taken from the search's memory; for findings whose runs end."""
    result, verdicts, subject = searched
    checked = 0
    for finding in result.findings:
        if not finding.shrunk.minimal or finding.other_way or "no end" in finding.broken.got:
            continue
        rule = finding.broken.rule
        simpler = [
            item for item in simplifications(finding.shrunk.scenario) if subject.supports(item) is None
        ]
        for broken in verdicts(simpler):
            assert rule not in {item.rule for item in broken or ()}, finding.shrunk.scenario.label
        checked += 1
    assert checked >= 3
