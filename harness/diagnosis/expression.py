"""Expressions: trees over quantities that show themselves as text and work themselves out over columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from .quantities import DEFINITIONS, Integers, Quantities

__all__ = [
    "OPERATIONS",
    "Binary",
    "Cases",
    "Expression",
    "Leaf",
    "Operation",
    "Operator",
    "Scaled",
    "definitions_of",
    "leaves_of",
]


class Operator(StrEnum):
    """The operations of the grammar, in order of simplicity."""

    ADD = "+"
    SUBTRACT = "-"
    MULTIPLY = "·"
    CEIL_DIVIDE = "ceil/"
    FLOOR_DIVIDE = "//"
    MODULO = "%"
    MINIMUM = "min"
    MAXIMUM = "max"


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """What an operator does to two columns.

    Attributes:
        apply: works on int64 arrays that broadcast; divisors are not 0.
        commutes: whether the operands may be swapped.
        divides: whether the right operand must not be 0.
        cost: simplicity.
    """

    apply: Callable[[Integers, Integers], Integers]
    commutes: bool = False
    divides: bool = False
    cost: float = 1.0


OPERATIONS: Mapping[Operator, Operation] = MappingProxyType(
    {
        Operator.ADD: Operation(apply=np.add, commutes=True),
        Operator.SUBTRACT: Operation(apply=np.subtract),
        Operator.MULTIPLY: Operation(apply=np.multiply, commutes=True),
        Operator.CEIL_DIVIDE: Operation(apply=lambda x, y: -(-x // y), divides=True, cost=1.1),
        Operator.FLOOR_DIVIDE: Operation(apply=np.floor_divide, divides=True, cost=1.1),
        Operator.MODULO: Operation(apply=np.mod, divides=True, cost=1.4),
        Operator.MINIMUM: Operation(apply=np.minimum, commutes=True, cost=1.3),
        Operator.MAXIMUM: Operation(apply=np.maximum, commutes=True, cost=1.3),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaf:
    """A quantity or a constant, by its name."""

    name: str
    cost: float = 1.0

    def value(self, quantities: Quantities) -> Integers:
        """Return its column."""
        return quantities.columns[self.name]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaled:
    """ceil or floor of epochs·factor."""

    factor: Expression
    ceiling: bool = True
    cost: float = 2.2

    def value(self, quantities: Quantities) -> Integers:
        """Work it out."""
        return quantities.scaled_epochs(self.factor.value(quantities), ceiling=self.ceiling)

    def __str__(self) -> str:
        return f"{'ceil' if self.ceiling else 'floor'}(epochs·{_inside(self.factor, 2)})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Binary:
    """Two expressions and an operator."""

    operator: Operator
    left: Expression
    right: Expression

    @property
    def cost(self) -> float:
        """Sum of its parts."""
        return self.left.cost + self.right.cost + OPERATIONS[self.operator].cost

    def value(self, quantities: Quantities) -> Integers:
        """Work it out; a division by 0 gives -1, which no figure is."""
        left, right = self.left.value(quantities), self.right.value(quantities)
        operation = OPERATIONS[self.operator]
        if not operation.divides:
            return operation.apply(left, right)
        result = operation.apply(left, np.where(right == 0, 1, right))
        return np.where(right == 0, -1, result)

    def __str__(self) -> str:
        left, right = self.left, self.right
        match self.operator:
            case Operator.ADD:
                return f"{_inside(left, 1)} + {_inside(right, 1)}"
            case Operator.SUBTRACT:
                return f"{_inside(left, 1)} - {_inside(right, 2)}"
            case Operator.MULTIPLY:
                return f"{_inside(left, 2)}·{_inside(right, 2)}"
            case Operator.CEIL_DIVIDE:
                return f"ceil({_inside(left, 2)} / {_inside(right, 3)})"
            case Operator.FLOOR_DIVIDE | Operator.MODULO:
                return f"{_inside(left, 3)} {self.operator.value} {_inside(right, 3)}"
            case _:
                return f"{self.operator.value}({left}, {right})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cases:
    """A case distinction.

    Attributes:
        condition: text of the condition.
        holds: works the condition out over quantities (bool `[n]`).
        condition_cost: simplicity of the condition.
    """

    condition: str
    holds: Callable[[Quantities], np.ndarray[tuple[int], np.dtype[np.bool_]]]
    condition_cost: float
    then: Expression
    otherwise: Expression

    @property
    def cost(self) -> float:
        """Both branches, the condition, and what a distinction costs."""
        return self.then.cost + self.otherwise.cost + self.condition_cost + 2.0

    def value(self, quantities: Quantities) -> Integers:
        """Work it out."""
        branches = self.then.value(quantities), self.otherwise.value(quantities)
        return np.where(self.holds(quantities), *branches)

    def __str__(self) -> str:
        return f"{self.then} if {self.condition} else {self.otherwise}"


Expression = Leaf | Scaled | Binary | Cases


def leaves_of(expression: Expression) -> Iterator[str]:
    """Yield the names in an expression, with the derived symbols that they rest on, dependencies first."""
    match expression:
        case Leaf(name=name):
            if name == "E_floor":
                yield from ("U_floor", "T_floor")
            elif name == "T_floor":
                yield "U_floor"
            yield name
        case Scaled(factor=factor):
            yield "epochs"
            yield from leaves_of(factor)
        case Binary(left=left, right=right):
            yield from leaves_of(left)
            yield from leaves_of(right)
        case Cases(then=then, otherwise=otherwise):
            yield from leaves_of(then)
            yield from leaves_of(otherwise)


def definitions_of(expression: Expression) -> tuple[str, ...]:
    """Return `U_floor = max(M // A, 1)` and its like for the derived symbols of an expression."""
    names = dict.fromkeys(name for name in leaves_of(expression) if name in DEFINITIONS)
    return tuple(f"{name} = {DEFINITIONS[name]}" for name in names)


def _inside(expression: Expression, level: float) -> str:
    """Return the text with parentheses where the surrounding operator binds tighter (1 sum, 2 product, 3 atom)."""
    text = str(expression)
    return f"({text})" if _level(expression) < level else text


def _level(expression: Expression) -> float:
    match expression:
        case Cases():
            return 0
        case Binary(operator=Operator.ADD | Operator.SUBTRACT):
            return 1
        case Binary(operator=Operator.FLOOR_DIVIDE | Operator.MODULO):
            return 1.5  # beside a product it needs parentheses, in a sum it does not
        case Binary(operator=Operator.MULTIPLY):
            return 2
        case _:
            return 3
