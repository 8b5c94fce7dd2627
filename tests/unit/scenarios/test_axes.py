"""An axis is read strictly from text and from values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepaudit.scenarios import LossProtocol, Scenario, ScenarioError
from stepaudit.scenarios.axes import (
    ALIASES,
    AXIS_NAMES,
    Axis,
    axis_name,
    legal_base,
    parse_axes,
    parse_axis,
    value_from_text,
)
from stepaudit.scenarios.sampling import RANDOM_AXES


def value_or_error(call, *arguments):
    try:
        return call(*arguments)
    except ScenarioError as error:
        return error


def test_every_field_of_a_scenario_is_an_axis():
    """Nothing of a scenario is out of a sweep's reach, and every alias leads to a field."""
    assert set(AXIS_NAMES) == set(Scenario.__slots__)
    assert set(ALIASES.values()) <= set(AXIS_NAMES)
    assert not set(ALIASES) & set(AXIS_NAMES)


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("accum=1,2,4", Axis(name="grad_accum", values=(1, 2, 4))),
        ("per-device-batch-size=8", Axis(name="per_device_batch_size", values=(8,))),
        ("gradient_accumulation_steps=2", Axis(name="grad_accum", values=(2,))),
        ("max_steps=none,0,7", Axis(name="max_steps", values=(None, 0, 7))),
        ("epochs = 0.5, 1, 15e-1", Axis(name="epochs", values=(0.5, 1.0, 1.5))),
        ("drop_last=true,false", Axis(name="drop_last", values=(True, False))),
        (
            "protocol=none,honoured",
            Axis(name="loss_protocol", values=(LossProtocol.NONE, LossProtocol.HONOURED)),
        ),
    ],
)
def test_text_becomes_typed_values(text, axis):
    """`none` is None where a limit may be absent and the word itself where it is one of the words."""
    assert parse_axis(text) == axis
    assert [type(a) for a in parse_axis(text).values] == [type(b) for b in axis.values]


@given(st.sampled_from(RANDOM_AXES))
def test_an_axis_survives_its_text(axis):
    """Writing an axis and reading it again gives the same axis."""
    assert parse_axis(str(axis)) == axis


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acum=1", "unknown axis 'acum'; did you mean 'accum'?"),
        ("grad-acum=1", "unknown axis 'grad-acum'; did you mean 'grad_accum'?"),
        ("=1", "unknown axis ''; valid: rows"),
        ("accum", "axis 'accum' has no values; write grad_accum=V,V,..."),
        ("accum=", "axis 'accum=' has no values; write grad_accum=V,V,..."),
        ("accum=1,,2", "axis 'accum=1,,2' has an empty value"),
        ("accum=1,2,1", "axis grad_accum has the value 1 twice"),
        ("epochs=1,1.0", "axis epochs has the value 1.0 twice"),
        ("accum=true", "grad_accum must be an integer, not 'true'"),
        ("accum=two", "grad_accum must be an integer, not 'two'"),
        ("accum=2.0", "grad_accum must be an integer, not '2.0'"),
        ("accum=1_000", "grad_accum must be an integer, not '1_000'"),
        ("accum=٣", "grad_accum must be an integer, not '٣'"),
        ("accum=0", "grad_accum must be at least 1, not 0"),
        ("rows=-4", "rows must be at least 1, not -4"),
        ("rows=none", "rows must be an integer, not 'none'"),
        ("rows=99999999999999999999", "rows must be at most 9007199254740992, not 99999999999999999999"),
        ("max_steps=-1", "max_steps must be at least 0, not -1; write none for no limit"),
        ("epochs=nan", "epochs must be a finite number, not 'nan'"),
        ("epochs=1e999", "epochs must be a finite number, not '1e999'"),
        ("epochs=0", "epochs must be positive, not 0.0"),
        ("drop_last=yes", "drop_last must be true or false, not 'yes'"),
        ("schedule=linaer", "lr_schedule has no value 'linaer'; did you mean 'linear'?"),
        ("dataset=itrable", "dataset has no value 'itrable'; did you mean 'iterable'?"),
    ],
)
def test_bad_text_is_one_line_with_the_value(text, message):
    """Every refusal shows what was written and, for a name, the nearest valid one."""
    with pytest.raises(ScenarioError) as caught:
        parse_axis(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_axis_is_given_once():
    """The same axis by name and by alias is refused, not silently overridden."""
    with pytest.raises(ScenarioError, match="axis grad_accum is given 2 times"):
        parse_axes(["accum=1", "grad_accum=2"])


@given(st.text(max_size=20), st.sampled_from(AXIS_NAMES))
def test_any_text_is_a_value_or_one_clear_error(text, name):
    """No text leads to another exception, and what is accepted makes a legal axis."""
    value = value_or_error(value_from_text, name, text)
    if isinstance(value, ScenarioError):
        assert name in str(value)
    else:
        assert Axis(name=name, values=(value,)).values == (value,)


@given(st.text(max_size=30))
def test_any_text_as_an_axis_name(text):
    """An unknown name is a ScenarioError and nothing else."""
    name = value_or_error(axis_name, text)
    assert name in AXIS_NAMES or "unknown axis" in str(name)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((), "axis grad_accum has no values"),
        ((True,), "grad_accum must be an integer, not True"),
        (("2",), "grad_accum must be an integer, not '2'"),
    ],
)
def test_values_are_strict(values, message):
    """A bool or a text where an integer belongs is an error, not a conversion."""
    with pytest.raises(ScenarioError, match=message):
        Axis(name="grad_accum", values=values)


def test_fixed_fields_are_checked_with_their_place():
    """A base names where it stands, the value and the nearest field."""
    with pytest.raises(ScenarioError, match=r"^base: unknown field 'row'; did you mean 'rows'"):
        legal_base({"row": 3})
    with pytest.raises(ScenarioError, match=r"^here: rows must be an integer, not True"):
        legal_base({"rows": True}, where="here")
    with pytest.raises(ScenarioError, match="unknown axis 'row'; did you mean 'rows'"):
        Axis(name="row", values=(1,))
