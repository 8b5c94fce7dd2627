"""A scenario is one point, strict at the border, and its cross-field rules are all declared."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepaudit.scenarios import Scenario, ScenarioError, scenario_from_mapping
from stepaudit.scenarios.axes import AXIS_NAMES
from stepaudit.scenarios.sampling import RANDOM_AXES, sample
from stepaudit.scenarios.validity import CROSS_FIELDS, violation

DRAWN = {axis.name: st.sampled_from(axis.values) for axis in RANDOM_AXES} | {
    "model": st.sampled_from(["tracer", "tiny-llama", "llama"]),
    "tier": st.sampled_from(["predict", "trace", "numeric", "gpu"]),
    "ranks": st.sampled_from([1, 2]),
    "resume_at": st.sampled_from([None, 1, 4]),
    "precision": st.sampled_from(["fp32", "bf16"]),
}


@given(st.integers(0, 10_000))
def test_a_scenario_survives_json(seed):
    """Mapping, JSON and back give an equal scenario, from all fields and from the differences alone."""
    (scenario,) = sample(count=1, seed=seed).scenarios
    assert scenario_from_mapping(json.loads(json.dumps(scenario.to_mapping()))) == scenario
    assert scenario_from_mapping(scenario.differences()) == scenario


@given(st.fixed_dictionaries(DRAWN))
def test_every_rule_between_fields_is_declared(values):
    """Scenario refuses a combination of legal values exactly when it refuses a declared group of fields."""
    try:
        Scenario(**values)
        refused = False
    except ScenarioError:
        refused = True
    assert (violation(values) is not None) is refused


def test_declared_groups_share_no_field():
    """Counting impossible pairs group by group is exact only while groups are disjoint."""
    fields = [name for group in CROSS_FIELDS for name in group]
    assert len(fields) == len(set(fields))
    assert set(fields) <= set(AXIS_NAMES)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": True}, "rows must be an integer, not True"),
        ({"rows": "4"}, "rows must be an integer, not '4'"),
        ({"rows": 4.0}, "rows must be an integer, not 4.0"),
        ({"rows": 0}, "rows must be at least 1, not 0"),
        ({"grad_accum": -2}, "grad_accum must be at least 1, not -2"),
        ({"epochs": float("nan")}, "epochs must be a finite number, not nan"),
        ({"epochs": float("inf")}, "epochs must be a finite number, not inf"),
        ({"drop_last": 1}, "drop_last must be true or false, not 1"),
        ({"lr_schedule": "linaer"}, "lr_schedule has no value 'linaer'; did you mean 'linear'?"),
        ({"grad_acum": 2}, "unknown field 'grad_acum'; did you mean 'grad_accum'?"),
    ],
)
def test_an_illegal_value_is_shown(values, message):
    """The message has the field, the value, and the nearest valid name where a name is wrong."""
    with pytest.raises(ScenarioError) as caught:
        scenario_from_mapping(values, where="line 3")
    assert str(caught.value) == f"line 3: {message}"
