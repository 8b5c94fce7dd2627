"""Expressions: their text means what they compute."""

from __future__ import annotations

import math

import pytest
from simulated import CONTRACT, drawn
from stepaudit.harness.diagnosis import quantities_of
from stepaudit.harness.diagnosis.bank import build_bank
from stepaudit.harness.diagnosis.expression import Binary, Leaf, Operator, Scaled, definitions_of

T, U, A, M = (Leaf(name=name) for name in "TUAM")


def of(operator, left, right):
    return Binary(operator=operator, left=left, right=right)


def test_the_text_reads_back_to_the_same_numbers():
    """Every expression of a bank, its text evaluated as Python, gives its own values."""
    scenarios = drawn(60, seed=1)
    quantities = quantities_of(scenarios, CONTRACT)
    bank = build_bank(quantities, leaves=("T", "U", "A", "M", "1"), size=3)
    positions = range(0, len(bank), max(1, len(bank) // 300))
    for position in positions:
        expression = bank.expression(position)
        text = str(expression).replace("·", "*")
        values = expression.value(quantities)
        for number in range(0, len(scenarios), 7):
            names = {name: int(column[number]) for name, column in quantities.columns.items()}
            names |= {"epochs": float(quantities.epochs[number]), "ceil": math.ceil, "floor": math.floor}
            assert eval(text, {"min": min, "max": max}, names) == values[number], text


def test_the_bank_has_one_expression_a_function():
    """No two entries have the same values on the points."""
    quantities = quantities_of(drawn(80, seed=2), CONTRACT)
    bank = build_bank(quantities, leaves=("T", "U", "A", "1"), size=3)
    values = bank.values(quantities)
    assert len({row.tobytes() for row in values}) == len(bank)


def test_entries_give_what_their_trees_give():
    """The vectorised bank and the trees agree on cells that the bank was not built from."""
    bank = build_bank(
        quantities_of(drawn(80, seed=2), CONTRACT), leaves=("T", "U", "A", "M", "U_floor"), size=3
    )
    cells = quantities_of(drawn(40, seed=9), CONTRACT)
    values = bank.values(cells)
    for position in range(0, len(bank), max(1, len(bank) // 200)):
        assert bank.expression(position).value(cells).tolist() == values[position].tolist()


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (of(Operator.MULTIPLY, of(Operator.ADD, T, U), A), "(T + U)·A"),
        (of(Operator.SUBTRACT, T, of(Operator.SUBTRACT, U, A)), "T - (U - A)"),
        (of(Operator.MULTIPLY, of(Operator.FLOOR_DIVIDE, T, U), M), "(T // U)·M"),
        (of(Operator.CEIL_DIVIDE, T, of(Operator.MULTIPLY, U, A)), "ceil(T / (U·A))"),
        (of(Operator.MAXIMUM, T, of(Operator.MODULO, M, A)), "max(T, M % A)"),
        (Scaled(factor=of(Operator.ADD, U, A)), "ceil(epochs·(U + A))"),
    ],
)
def test_parentheses_are_where_precedence_needs_them(expression, text):
    assert str(expression) == text


def test_derived_symbols_come_with_their_definitions():
    """Dependencies first."""
    names = [line.split(" = ")[0] for line in definitions_of(Leaf(name="E_floor"))]
    assert names == ["U_floor", "T_floor", "E_floor"]
