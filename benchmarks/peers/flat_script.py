"""One training script in one file, as a user would hand it to a tracer: model, rows, loop, one seeded loop, main."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import arena
from stepaudit.scenarios.faults import Loop
from stepaudit.scenarios.faults import loop as loop_module

__all__ = ["write_script"]

_OF_OURS = {"loop_class", "new_loop", "tell", "overridden"}

# ---- the adapter that a user would write
_STEP = '''
from traincheck import annotate_stage
from traincheck.instrumentor.control import start_step


class Traced({base}):
    """Says where a training step begins: the tracer looks for it in loops with `.step()` or `.backward()` inside.

    And makes the optimizer on a line that speaks of model and optimizer: that is where its sampler is hooked in.
    """

    def make_optimizer(self):
        optimizer = super().make_optimizer() if model is self.model else None
        return optimizer

    def train_window(self, window):
        start_step()
        super().train_window(window)

    def evaluate(self):
        annotate_stage("evaluation")
        super().evaluate()
        annotate_stage("training")
'''


# ---- its end
_MAIN = """
model = new_model({seed})
loop = {kind}(
    model=model,
    train_dataset=Rows({setting}.rows),
    eval_dataset=Rows(4),
    args=SimpleNamespace(**{{**vars(arguments({setting}, {output!r})), "seed": {seed}}}),
    announce=Silent(),
)
annotate_stage("training")
print("claims", loop.run())
"""


def write_script(path: Path, name: str | None, setting: arena.Setting, *, seed: int) -> None:
    """Write the script of one seeded loop, or of the correct one."""
    kind = Loop if name is None else arena.loop_class(name)
    family = [base for base in reversed(kind.__mro__) if base not in {object, Loop}]
    sources = [
        inspect.getsource(arena),
        inspect.getsource(loop_module),
        inspect.getsource(inspect.getmodule(kind)),
    ]
    parts = [
        "\n".join(dict.fromkeys(line for source in sources for line in _imports(source))),
        _definitions(inspect.getsource(arena)),
        _definitions(inspect.getsource(loop_module)),
        *(_definitions(inspect.getsource(base)) for base in family),
        _helpers(kind),
        _STEP.format(base=kind.__name__),
        _MAIN.format(kind="Traced", setting=repr(setting), seed=seed, output=str(path.parent / "out")),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(parts))


def _imports(source: str) -> list[str]:
    """Return a module's imports of libraries."""
    nodes = [node for node in ast.parse(source).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return [
        ast.unparse(node)
        for node in nodes
        if not (
            isinstance(node, ast.ImportFrom)
            and (node.level or str(node.module).split(".")[0] in {"stepaudit", "__future__"})
        )
    ]


def _definitions(source: str, without: set[str] = _OF_OURS) -> str:
    """Return a module's classes, functions and constants, without its imports and without decorators of ours."""
    kept = []
    for node in ast.parse(source).body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.Assign)):
            continue
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            continue
        if getattr(node, "name", "") in without:
            continue
        if isinstance(node, ast.ClassDef):
            node.decorator_list = [
                item for item in node.decorator_list if ast.unparse(item).startswith("dataclass")
            ]
        kept.append(ast.unparse(node))
    return "\n\n".join(kept)


def _helpers(kind: type[Loop]) -> str:
    """Return what the module in which a seeded loop lives has besides loops: functions, constants, other classes."""
    module = inspect.getmodule(kind)
    assert module is not None
    if module is loop_module:
        return ""
    loops = {
        name for name, value in vars(module).items() if inspect.isclass(value) and issubclass(value, Loop)
    }
    return _definitions(inspect.getsource(module), without=loops)
