"""The small changes that make a mutant: operators, bounds, constants, branches, statements; wording is left alone."""

from __future__ import annotations

import ast
import copy
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mutant", "code_of", "function_code", "mutants_of"]

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
_NAMES = {"min": "max", "max": "min", "ceil": "floor", "floor": "ceil", "any": "all", "all": "any"}
_NO_CODE = {"annotation", "returns", "decorator_list", "type_params"}
_LONGEST_TEXT = 90


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """One change of one file.

    Attributes:
        path: of the file, from the root.
        number: place of the change in the file, in the order of the walk.
        line: for people.
        function: outermost function or method by its qualified name; empty at module level.
        change: `before → after`; the n-th of its kind in its function ends with ` #n` from the second on.
    """

    path: str
    number: int
    line: int
    function: str
    change: str

    @property
    def module(self) -> str:
        """Import name."""
        name = self.path.removesuffix(".py").replace("/", ".")
        return "stepaudit." + name.removesuffix(".__init__")

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is known by: it survives an edit elsewhere in the file."""
        return self.path, self.function, self.change


def mutants_of(root: Path, path: str) -> Iterator[Mutant]:
    """Yield the mutants of a file, in the order of its source."""
    walk = _Walk(None)
    walk.visit(ast.parse((root / path).read_text(encoding="utf-8")))
    seen: Counter[tuple[str, str]] = Counter()
    for number, (line, function, change) in enumerate(walk.found):
        seen[function, change] += 1
        nth = seen[function, change]
        yield Mutant(
            path=path,
            number=number,
            line=line,
            function=function,
            change=change if nth == 1 else f"{change} #{nth}",
        )


def code_of(root: Path, mutant: Mutant) -> types.CodeType:
    """Return the module's code with the change in it."""
    path = root / mutant.path
    tree = _Walk(mutant.number).visit(ast.parse(path.read_text(encoding="utf-8")))
    return compile(ast.fix_missing_locations(tree), str(path), "exec")


def function_code(code: types.CodeType, function: str) -> types.CodeType:
    """Return the code of a function or method within a module's."""
    for name in function.split("."):
        code = next(
            item for item in code.co_consts if isinstance(item, types.CodeType) and item.co_name == name
        )
    return code


class _Walk(ast.NodeTransformer):
    """Lists the places of a change, and makes the one that is asked for."""

    def __init__(self, wanted: int | None) -> None:
        self.wanted = wanted
        self.found: list[tuple[int, str, str]] = []
        self.scope: list[str] = []
        self.depth = 0
        """functions around the place"""

    def offer(self, node: ast.AST, change: Callable[[], ast.AST], text: str) -> ast.AST:
        """List a change of a node; return the changed node where it is the wanted one."""
        number = len(self.found)
        self.found.append((getattr(node, "lineno", 0), ".".join(self.scope) if self.depth else "", text))
        return ast.copy_location(change(), node) if number == self.wanted else node

    def offer_copy(self, node: ast.AST, **fields: object) -> ast.AST:
        """The same for a change of fields."""
        changed = copy.copy(node)
        for name, value in fields.items():
            setattr(changed, name, value)
        return self.offer(node, lambda: changed, f"{_text(node)} → {_text(changed)}")

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for name, value in ast.iter_fields(node):
            if name in _NO_CODE:
                continue
            if isinstance(value, list):
                value[:] = [self.visit(item) if isinstance(item, ast.AST) else item for item in value]
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node  # wording

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.scope.append(node.name)
        node.body = [self.visit(item) for item in node.body]
        self.scope.pop()
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        outer = not self.depth
        if outer:
            scope, self.scope = self.scope, []
            node.args = self.visit(node.args)  # defaults are made when the module is
            self.scope = [*scope, node.name]
        self.depth += 1
        node.body = [self.visit(item) for item in node.body]
        self.depth -= 1
        if outer:
            self.scope.pop()
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        made: ast.AST = node
        for at, operator in enumerate(node.ops):
            other = _SWAPS[type(operator)]()
            offered = self.offer_copy(node, ops=[*node.ops[:at], other, *node.ops[at + 1 :]])
            made = offered if offered is not node else made
        return made

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if type(node.op) not in _SWAPS or _is_text(node.left) or _is_text(node.right):
            return node
        return self.offer_copy(node, op=_SWAPS[type(node.op)]())

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        return self.offer_copy(node, op=_SWAPS[type(node.op)]())

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return self.offer(node, lambda: node.operand, f"{_text(node)} → {_text(node.operand)}")

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        value = node.value
        if isinstance(value, bool):
            return self.offer_copy(node, value=not value)
        if isinstance(value, int):
            return self.offer_copy(node, value=value + 1)
        if isinstance(value, float):
            return self.offer_copy(node, value=value * 4 if value else 1.0)
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self.offer_copy(node, id=_NAMES[node.id]) if node.id in _NAMES else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        return self.offer_copy(node, attr=_NAMES[node.attr]) if node.attr in _NAMES else node

    def visit_If(self, node: ast.If) -> ast.AST:
        return self._branch(node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        return self._branch(node)

    def visit_While(self, node: ast.While) -> ast.AST:
        return self._branch(node)

    def visit_Continue(self, node: ast.Continue) -> ast.AST:
        return self.offer(node, ast.Break, "continue → break")

    def visit_Break(self, node: ast.Break) -> ast.AST:
        return self.offer(node, ast.Continue, "break → continue")

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        return self.offer(node, ast.Pass, f"{_text(node)} → pass")

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if isinstance(node.value, ast.Constant):
            return node  # a docstring
        self.generic_visit(node)
        if isinstance(node.value, (ast.Yield, ast.YieldFrom)):
            return node  # without it the function is no generator: every call fails
        return self.offer(node, ast.Pass, f"{_text(node)} → pass")

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        for condition in node.ifs:
            if self.offer(node, lambda: node, f"if {_text(condition)} (in a comprehension) → if True") and (
                self.wanted == len(self.found) - 1
            ):
                node.ifs = [item for item in node.ifs if item is not condition]
        return node

    def _branch(self, node: ast.If | ast.IfExp | ast.While) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.test, (ast.Compare, ast.UnaryOp, ast.BoolOp)):
            return node  # its test is changed already
        opposite = ast.UnaryOp(ast.Not(), node.test)
        changed = copy.copy(node)
        changed.test = opposite
        return self.offer(node, lambda: changed, f"if {_text(node.test)} → if not")


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _text(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).replace("\n", " ")
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"
