"""Small arithmetic formulas over named numbers, read without `eval` and worked out exactly."""

from __future__ import annotations

import ast
import math
import operator
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .scenario import ScenarioError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FORMULA_NAMES", "Formula", "parse_formula"]

FORMULA_NAMES: tuple[str, ...] = (
    "rows",
    "max_steps",
    "epochs",
    "B",
    "A",
    "R",
    "M",
    "U",
    "T",
    "E",
    "logging_steps",
    "resumed_at",
    "expected",
)
"""What a formula may name: scenario fields, the contract's symbols, the optimizer step of the checkpoint that a run is
resumed from, and the value that it expects."""

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = MappingProxyType(
    {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
        ast.FloorDiv: lambda left, right: Fraction(left // right),
        ast.Mod: operator.mod,
    }
)
_COMPARED: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = MappingProxyType(
    {
        ast.Eq: operator.eq,
        ast.NotEq: operator.ne,
        ast.Lt: operator.lt,
        ast.LtE: operator.le,
        ast.Gt: operator.gt,
        ast.GtE: operator.ge,
    }
)
_CALLS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"ceil": math.ceil, "floor": math.floor, "max": max, "min": min}
)
_OF_MANY = frozenset({"max", "min"})
_LONGEST = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Formula:
    """A formula such as `max_steps * ceil(T / U)`.

    Attributes:
        text: as it was written.
        names: the numbers it needs.
    """

    text: str
    names: frozenset[str]

    def value(self, numbers: Mapping[str, float | None]) -> Fraction:
        """Return the exact value.

        Raises:
            ScenarioError: a number that it needs is missing or None, or a division by zero.
        """
        try:
            exact = {name: Fraction(self._number(name, numbers)) for name in sorted(self.names)}
            return Fraction(_value(ast.parse(self.text, mode="eval").body, exact))
        except ScenarioError:
            raise
        except (ZeroDivisionError, OverflowError, ValueError) as error:
            raise ScenarioError(f"formula {self.text!r} has no value here: {error}") from None

    def _number(self, name: str, numbers: Mapping[str, float | None]) -> float:
        number = numbers.get(name)
        if number is None:
            raise ScenarioError(f"formula {self.text!r} needs {name}, which has no value here")
        return number


def parse_formula(text: str) -> Formula:
    """Return the formula: names, numbers, + - * / // %, parentheses, ceil, floor, max, min.

    As a condition also == != < <= > >=, `and`, `or`, whose value is 1 or 0.

    Raises:
        ScenarioError: anything else; an unknown name comes with the nearest valid one.
    """
    if len(text) > _LONGEST:
        raise ScenarioError(f"formula {text[:40]!r}... is longer than {_LONGEST} characters")
    try:
        body = ast.parse(text, mode="eval").body
        names = frozenset(_names(body))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ScenarioError(f"cannot read formula {text!r}") from None
    for name in sorted(names):
        if name not in FORMULA_NAMES:
            raise ScenarioError(f"formula {text!r} names {name!r}{nearest(name, FORMULA_NAMES)}")
    return Formula(text=text, names=names)


def _names(node: ast.expr) -> list[str]:
    """Return the names in a tree, raising ValueError at a node that is not arithmetic."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and _is_finite(
            value
        ):
            return []
        case ast.Name(id=name):
            return [name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _names(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _names(left) + _names(right)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARED:
            return _names(left) + _names(right)
        case ast.BoolOp(values=values):
            return [inner for value in values for inner in _names(value)]
        case ast.Call(func=ast.Name(id=name), args=[_, *rest] as args, keywords=[]) if name in (
            _OF_MANY if rest else _CALLS
        ):
            return [inner for arg in args for inner in _names(arg)]
        case _:
            raise ValueError(ast.dump(node))


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float is finite
        return True


def _value(node: ast.expr, numbers: Mapping[str, Fraction]) -> Any:
    match node:
        case ast.Constant(value=value):
            return Fraction(str(value))
        case ast.Name(id=name):
            return numbers[name]
        case ast.UnaryOp(operand=operand):
            return -_value(operand, numbers)
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_value(left, numbers), _value(right, numbers))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return Fraction(_COMPARED[type(op)](_value(left, numbers), _value(right, numbers)))
        case ast.BoolOp(op=op, values=values):
            holds = all if isinstance(op, ast.And) else any
            return Fraction(holds(bool(_value(value, numbers)) for value in values))
        case ast.Call(func=ast.Name(id=name), args=args):
            values = [_value(arg, numbers) for arg in args]
            return Fraction(_CALLS[name](values) if name in _OF_MANY else _CALLS[name](*values))
    raise AssertionError(ast.dump(node))
