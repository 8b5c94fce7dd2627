"""Formulas are arithmetic only, exact, and say what is missing."""

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepaudit.scenarios import ScenarioError
from stepaudit.scenarios.formula import parse_formula

NUMBERS = {"rows": 60, "max_steps": 8, "epochs": 1.5, "B": 2, "A": 4, "R": 1, "M": 30, "U": 8, "T": 8, "E": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("max_steps * 2", 16),
        ("ceil(rows / (B * A)) - 1", 7),
        ("rows // B % 7", 2),
        ("floor(epochs * U) + max(E, M, A)", 42),
        ("1 / 3 + min(U, 1/3)", Fraction(2, 3)),
        ("-T + 0.1", Fraction(-79, 10)),
        ("ceil(1.2) / ceil(2.5)", Fraction(2, 3)),
        ("7 // 2 / 2", Fraction(3, 2)),
    ],
)
def test_a_formula_is_worked_out_exactly(text, value):
    """Fractions stay fractions; no rounding anywhere."""
    assert parse_formula(text).value(NUMBERS) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_step * 2", "formula 'max_step * 2' names 'max_step'; did you mean 'max_steps'?"),
        ("__import__('os')", "cannot read formula"),
        ("T.real", "cannot read formula"),
        ("T ** 9", "cannot read formula"),
        ("T if T else 1", "cannot read formula"),
        ("True + 1", "cannot read formula"),
        ("'4'", "cannot read formula"),
        ("1e999", "cannot read formula"),
        ("ceil(T, U)", "cannot read formula"),
        ("ceil()", "cannot read formula"),
        ("max(*T)", "cannot read formula"),
        ("T +", "cannot read formula"),
        ("", "cannot read formula"),
        ("(" * 150, "cannot read formula"),
        ("1+" * 150, "formula '1+1+"),
    ],
)
def test_anything_else_is_refused(text, message):
    """No attribute, call, power, condition, bool or text gets through; the text is shown."""
    with pytest.raises(ScenarioError) as caught:
        parse_formula(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "numbers", "message"),
    [
        ("T + 1", {}, "needs T, which has no value here"),
        ("T + 1", {"T": None}, "needs T, which has no value here"),
        ("1 / (T - 8)", {"T": 8}, "has no value here"),
        ("T % A", {"T": 8, "A": 0}, "has no value here"),
        ("epochs", {"epochs": float("nan")}, "has no value here"),
        ("epochs", {"epochs": float("inf")}, "has no value here"),
    ],
)
def test_a_value_that_cannot_be_is_an_error(text, numbers, message):
    """A missing number or a division by zero is reported with the formula."""
    with pytest.raises(ScenarioError, match="formula .*" + message):
        parse_formula(text).value(numbers)


@given(st.text(alphabet="TUA123().+-*/% ,maxceil", max_size=30))
def test_any_text_is_a_formula_or_one_clear_error(text):
    """No text leads to another exception."""
    with contextlib.suppress(ScenarioError):
        assert parse_formula(text).value(NUMBERS) is not None
