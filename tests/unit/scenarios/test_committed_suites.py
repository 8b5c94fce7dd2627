"""What the committed suites promise: coverage, size, cost, and that a loop's usual faults show in them."""

import math
import tomllib
from fractions import Fraction
from importlib.resources import files

import pytest
from stepaudit.scenarios import DatasetKind, LossProtocol, LrSchedule, Precision, Scenario, Tier
from stepaudit.scenarios.axes import AXIS_NAMES
from stepaudit.scenarios.boundary import boundary, updates_per_epoch
from stepaudit.scenarios.default_recipe import DEFAULT_AXES
from stepaudit.scenarios.generate import default_toml, main
from stepaudit.scenarios.suite_file import axes_of
from stepaudit.scenarios.suites import load_suite, suite_names

FAULTS = (
    "epoch counter multiplies max_steps",
    "user's epochs multiply max_steps",
    "last partial window dropped",
    "loss not divided by accumulation",
    "zero_grad once per epoch",
    "scheduler stepped per micro-batch",
    "global_step counts micro-batches",
)


def planned(scenario):
    """Updates that the scenario asks for, and the epochs that they need."""
    updates = updates_per_epoch(
        rows=scenario.rows,
        batch=scenario.per_device_batch_size,
        accumulation=scenario.grad_accum,
        drop_last=scenario.drop_last,
    )
    if scenario.max_steps:
        return scenario.max_steps, math.ceil(scenario.max_steps / updates)
    return math.ceil(scenario.epochs * updates), math.ceil(scenario.epochs)


def toy_loop(scenario, fault=None):
    """A loop without a model: per update the weight of every row and the schedule's position; and a claim."""
    wanted, needed = planned(scenario)
    if fault == "epoch counter multiplies max_steps" and scenario.max_steps:
        wanted *= needed
    if fault == "user's epochs multiply max_steps" and scenario.max_steps:
        wanted *= math.ceil(scenario.epochs)
    batch, accumulation = scenario.per_device_batch_size, scenario.grad_accum
    size = scenario.rows // batch * batch if scenario.drop_last else scenario.rows
    micro_batches = [range(start, min(start + batch, size)) for start in range(0, size, batch)]
    books, clock, claimed = [], 0, 0
    while micro_batches and len(books) < wanted:
        gradient = dict[int, Fraction]()
        for start in range(0, len(micro_batches), accumulation):
            window = micro_batches[start : start + accumulation]
            if len(books) == wanted or (
                fault == "last partial window dropped" and len(window) < accumulation
            ):
                break
            count = sum(map(len, window))
            if fault != "zero_grad once per epoch":
                gradient = {}
            for rows in window:
                divisor = len(rows) if fault == "loss not divided by accumulation" else count
                for row in rows:
                    gradient[row] = gradient.get(row, 0) + Fraction(1, divisor)
            books.append((dict(gradient), 0 if scenario.lr_schedule is LrSchedule.CONSTANT else clock))
            clock += len(window) if fault == "scheduler stepped per micro-batch" else 1
            claimed += len(window) if fault == "global_step counts micro-batches" else 1
        else:
            continue
        if not books:
            break  # nothing but partial windows: such a loop makes no update
    return books, claimed


@pytest.mark.parametrize("suite", ["default", "smoke", "boundary"])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_usual_faults_show(suite, fault):
    """With the divisor honoured and a sized dataset, each fault changes the books of some scenario."""
    shown = [
        scenario
        for scenario in load_suite(suite).scenarios
        if scenario.loss_protocol is LossProtocol.HONOURED
        and scenario.dataset is DatasetKind.SIZED
        and toy_loop(scenario) != toy_loop(scenario, fault)
    ]
    assert shown


def test_the_toy_loop_without_a_fault_does_what_is_planned():
    """The control: the toy loop makes the planned updates in every scenario that has a micro-batch."""
    for scenario in load_suite("default").scenarios:
        books, claimed = toy_loop(scenario)
        has_data = not scenario.drop_last or scenario.rows >= scenario.per_device_batch_size
        assert len(books) == claimed == (planned(scenario)[0] if has_data else 0), scenario.label


def test_the_default_suite_covers_all_pairs_it_promises():
    """The committed rows cover every valid pair of the promised axes, which are those of the recipe."""
    suite = load_suite("default")
    coverage = suite.coverage()
    assert coverage.is_complete, coverage.missing[:5]
    assert coverage.valid > 1500
    assert suite.axes == DEFAULT_AXES
    assert suite.merged == 0


def test_the_default_suite_is_broad_and_cheap():
    """At least 200 scenarios, at most 60 updates each, few rows, one rank, nothing but the trace tier, few resumes."""
    scenarios = load_suite("default").scenarios
    assert 200 <= len(scenarios) <= 260
    assert max(planned(s)[0] for s in scenarios) <= 60
    assert max(s.rows for s in scenarios) <= 64
    assert sum(planned(s)[0] for s in scenarios) < 2000
    assert {(s.ranks, s.precision, s.tier) for s in scenarios} == {(1, Precision.FP32, Tier.TRACE)}
    assert sum(s.resume_at is not None for s in scenarios) == 6


def test_the_default_suite_has_the_places_where_faults_were_found():
    """Boundary points, the five shapes with fractional epochs, and the exact ends of epochs are all there."""
    scenarios = set(load_suite("default").scenarios)
    small = {s for s in boundary().scenarios if s.per_device_batch_size == 2 and s.epochs == 2.0}
    assert small <= scenarios
    for rows, batch, accumulation in ((16, 2, 2), (9, 2, 2), (13, 2, 4), (3, 1, 8), (10, 2, 2)):
        shape = {"rows": rows, "per_device_batch_size": batch, "grad_accum": accumulation}
        updates = updates_per_epoch(rows=rows, batch=batch, accumulation=accumulation)
        assert {Scenario(**shape, epochs=epochs) for epochs in (0.5, 1.0, 1.5, 2.0, 3.0)} <= scenarios
        assert {Scenario(**shape, max_steps=n) for n in (3, 5, 7, updates, 2 * updates)} <= scenarios


def test_the_default_suite_does_not_lean_on_default_values():
    """What a row leaves out is fixed in the file itself; a new default changes nothing that runs."""
    file = tomllib.loads(
        (files("stepaudit.scenarios") / "suites" / "default.toml").read_text(encoding="utf-8")
    )
    assert set(file["defaults"]) == set(AXIS_NAMES)


def test_the_recipe_still_gives_what_is_committed():
    """A new file keeps the promise too; its rows may differ with another release of covertable."""
    committed, fresh = load_suite("default"), tomllib.loads(default_toml())
    assert axes_of(fresh["axes"], where="fresh") == committed.axes
    again = {Scenario(**(fresh["defaults"] | table)) for table in fresh["scenario"]}
    assert len(again & set(committed.scenarios)) > 150  # all that does not come from the covering array


def test_the_generator_prints_a_suite_that_loads(tmp_path, capsys):
    """Its output is a suite file that covers every pair; a wrong name is exit code 2 with the nearest one."""
    assert main(["default"]) == 0
    path = tmp_path / "fresh.toml"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    assert load_suite(path).coverage().is_complete
    assert main(["defualt"]) == 2
    assert capsys.readouterr().err == "no generated suite 'defualt'; did you mean 'default'?\n"
    assert main([]) == 2


def test_the_founding_suite_holds_the_measured_rows():
    """The measured points, asked of four releases and the reference; all else is as in the default."""
    suite = load_suite("founding")
    measured = {
        Scenario(rows=5590, per_device_batch_size=4, grad_accum=4, max_steps=350),
        Scenario(rows=60, grad_accum=4, max_steps=8),
        Scenario(rows=64, grad_accum=4, max_steps=7),
    }
    assert measured < set(suite.scenarios)
    assert suite.subjects == (
        *(f"unsloth-zoo@{v}" for v in ("2024.10.0", "2026.10.5", "2026.10.6", "2026.10.9")),
        "hf",
    )
    for scenario in suite.scenarios:
        assert scenario.max_steps
        assert scenario.differences().keys() <= {
            "rows",
            "per_device_batch_size",
            "grad_accum",
            "max_steps",
            "epochs",
        }


@pytest.mark.parametrize("name", suite_names())
def test_every_committed_suite_can_be_run_as_it_is(name):
    """It loads, has a title and subjects, and every scenario is on one rank, or on several in the suite about them."""
    suite = load_suite(name)
    assert suite.title
    assert suite.subjects
    assert all((scenario.ranks > 1) == (name == "ranks") for scenario in suite.scenarios)
    assert len(suite.scenarios) == len(set(suite.scenarios))


def test_the_smoke_suite_is_small():
    """Twelve scenarios with all four loss protocols and both kinds of dataset."""
    scenarios = load_suite("smoke").scenarios
    assert len(scenarios) == 12
    assert {s.loss_protocol for s in scenarios} == set(LossProtocol)
    assert {s.dataset for s in scenarios} == set(DatasetKind)
    assert max(planned(s)[0] for s in scenarios) <= 10
