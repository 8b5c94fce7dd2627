"""Shrinking: the end has no failing simplification, and says truly what does not matter."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulated import CONTRACT
from stepaudit.harness.contract import terms_of
from stepaudit.harness.diagnosis import shrink, simplifications
from stepaudit.scenarios import LrSchedule, Scenario

START = Scenario(
    rows=37,
    per_device_batch_size=3,
    grad_accum=5,
    max_steps=11,
    epochs=2.75,
    drop_last=True,
    lr_schedule=LrSchedule.COSINE,
    warmup_steps=3,
    logging_steps=2,
    eval_steps=3,
    seed=3,
    lengths="equal",
    first_label="masked",
)

PREDICATES = {
    "always": lambda s: True,
    "remainder": lambda s: terms_of(s, CONTRACT).M % s.grad_accum != 0,
    "beyond one epoch": lambda s: bool(s.max_steps) and terms_of(s, CONTRACT).E > 1,
    "rows and batch": lambda s: s.rows % s.per_device_batch_size == 1,
    "word": lambda s: s.lr_schedule is LrSchedule.COSINE and s.grad_accum > 2,
    "dropped": lambda s: s.drop_last and s.rows > 5,
    "limit": lambda s: (s.max_steps or 0) >= 7,
    "fraction": lambda s: s.epochs != int(s.epochs),
}


def asked(predicate):
    return lambda scenarios: [predicate(item) for item in scenarios]


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    names=st.lists(st.sampled_from(sorted(PREDICATES)), min_size=1, max_size=3, unique=True),
    rows=st.integers(1, 300),
    limit=st.integers(7, 60),
)
def test_no_single_simplification_of_the_end_still_fails(names, rows, limit):
    """Whatever the fault depends on, the reduced scenario fails and nothing simpler than it does."""

    def fails(scenario):
        return all(PREDICATES[name](scenario) for name in names)

    start = START.with_(rows=rows, max_steps=limit)
    if not fails(start):
        return
    found = shrink(start, asked(fails))
    assert fails(found.scenario)
    assert found.minimal
    assert not any(fails(item) for item in simplifications(found.scenario))


def test_the_smallest_scenarios_of_well_known_faults():
    """Reduced to exactly this."""
    remainder = shrink(START, asked(PREDICATES["remainder"])).scenario
    assert remainder.differences() == {"rows": 1, "per_device_batch_size": 1, "grad_accum": 2}
    beyond = shrink(START, asked(PREDICATES["beyond one epoch"])).scenario
    assert beyond.differences() == {"rows": 1, "per_device_batch_size": 1, "max_steps": 2}


def test_parameters_that_do_not_matter_are_marked():
    """What was varied without effect is `# or any other value`; what matters is not."""
    found = shrink(START, asked(PREDICATES["word"]))
    assert "lr_schedule" not in found.indifferent
    assert "grad_accum" not in found.indifferent
    assert {"epochs", "rows", "drop_last", "warmup_steps"} <= set(found.indifferent)
    lines = found.lines()
    assert "lr_schedule=cosine" in lines
    assert "grad_accum=3" in lines
    assert "rows=1  # or any other value" in lines


def test_time_that_runs_out_is_not_called_minimal():
    """What was reached is returned, and said not to be the end."""
    calls = []

    def out_of_time():
        calls.append(1)
        return len(calls) > 3

    found = shrink(START, asked(PREDICATES["remainder"]), out_of_time=out_of_time)
    assert not found.minimal
    assert PREDICATES["remainder"](found.scenario)
