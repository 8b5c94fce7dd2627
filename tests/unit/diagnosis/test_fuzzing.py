"""Fuzzing: planted faults are found, told apart, reduced; known ones are called known."""

from __future__ import annotations

from simulated import CONTRACT
from stepaudit.harness.contract import terms_of
from stepaudit.harness.diagnosis.fuzz_records import Broken
from stepaudit.harness.diagnosis.fuzzing import FuzzOptions, fuzz
from stepaudit.scenarios import DatasetKind, LossProtocol, Scenario


def broken(rule, *, way="", known=None):
    return Broken(rule=rule, way=way, known=known, expected="1", got="2")


def planted(scenario):
    """Three faults: one new, one known, one that is another way of the first one's rule."""
    terms = terms_of(scenario, CONTRACT)
    found = []
    if scenario.max_steps == 0 and terms.T > 1:
        found.append(broken("target", way="less"))
    if scenario.dataset is DatasetKind.ITERABLE and terms.M < terms.A:
        found.append(broken("target", way="no end"))
    if scenario.loss_protocol is LossProtocol.IGNORED and terms.A > 1 and terms.M > 1:
        found.append(broken("weight", known="hf-ignored"))
    return tuple(found)


def run_fuzz(*, verdict=planted, seed=0, rule=None, examples=()):
    told = []
    result = fuzz(
        lambda scenarios: [verdict(item) for item in scenarios],
        contract=CONTRACT,
        supports=lambda _: None,
        options=FuzzOptions(budget_s=6.0, seed=seed, rule=rule),
        examples=examples,
        on_finding=told.append,
    )
    assert result.findings == told
    return result


def test_planted_faults_are_found_and_reduced():
    """All three, each to the smallest scenario that shows it."""
    found = {(item.broken.rule, item.broken.way): item for item in run_fuzz().findings}
    assert set(found) == {("target", "less"), ("target", "no end"), ("weight", "")}
    assert all(item.shrunk.minimal for item in found.values())
    assert found["target", "no end"].shrunk.scenario.differences() == {
        "rows": 1,
        "dataset": "iterable",
        "per_device_batch_size": 1,
        "grad_accum": 2,
        "max_steps": 1,
    }
    assert found["weight", ""].broken.known == "hf-ignored"
    assert found["weight", ""].shrunk.scenario.differences() == {
        "rows": 2,
        "loss_protocol": "ignored",
        "per_device_batch_size": 1,
        "grad_accum": 2,
    }


def test_a_correct_trainer_gives_no_finding():
    result = run_fuzz(verdict=lambda _: ())
    assert result.findings == []
    assert result.scenarios > 200


def test_cells_without_books_are_counted_and_are_no_findings():
    """A crash while reducing is no proof that the rule still fails."""
    result = run_fuzz(verdict=lambda item: None if item.rows == 1 else planted(item))
    assert result.not_run
    assert all(item.shrunk.scenario.rows > 1 for item in result.findings)


def test_one_rule_can_be_looked_at_alone():
    assert {item.broken.rule for item in run_fuzz(rule="weight").findings} == {"weight"}


def test_kept_examples_come_first():
    """What an earlier fuzz found is found again without luck."""
    rare = Scenario(rows=31, per_device_batch_size=7, grad_accum=13, seed=2)
    result = run_fuzz(verdict=lambda item: (broken("leak"),) if item.grad_accum > 12 else (), examples=[rare])
    assert [item.shrunk.scenario.grad_accum for item in result.findings] == [13]


def test_the_same_seed_draws_the_same_scenarios():
    """Two searches begin with the same scenarios."""

    def first_drawn():
        drawn = []

        def verdicts(scenarios):
            drawn.extend(scenarios)
            return [() for _ in scenarios]

        fuzz(
            verdicts,
            contract=CONTRACT,
            supports=lambda _: None,
            options=FuzzOptions(budget_s=1.5, seed=4),
        )
        return drawn[:40]

    assert first_drawn() == first_drawn()
