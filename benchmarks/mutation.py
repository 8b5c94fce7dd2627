"""Mutants of the contract, the rules, the judging and the account, held against recorded ledgers.

A mutant is one small change of the source (`<` to `<=`, `+` to `-`, a condition negated, a constant moved …). It is killed
when any verdict on the corpus changes, or any prediction, score or run verdict made from it; it survives when all stay
the same. The corpus are the ledgers of the seeded faults, of the correct but unusual loops, of `hf` and of other
subjects, recorded once by really running them (`--corpus`, made where it is missing). Survivors may then be given to the
unit tests (`--tests`).

    python -P benchmarks/mutation.py [--most N] [--seed S] [--only PART] [--tests] [--corpus FILE]

The mutators of the package index copy a package with its folder layout; the folders here are mapped to their import names
by setuptools' `package-dir`, so a mutant is put in place of a function's code, or of a module at import, in a forked child.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import gzip
import hashlib
import importlib
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "stepaudit."
TODAY = date(2030, 1, 1)
TARGETS = ("harness/contract", "harness/judging", "harness/ledger/account.py")
#: A mutant that takes longer than this hangs: it is killed.
MOST_SECONDS = 60
#: Seconds after which a cell of a real model is given up while the corpus is made.
LONGEST_CELL = 90
#: A larger record (a run that was stopped) is left out of the corpus: what it shows, smaller ones show too.
MOST_CHARACTERS = 200_000
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "ceil": "floor", "floor": "ceil", "any": "all", "all": "any"}


# ---- mutants


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """One change: where, which, and of which function (empty at module level)."""

    path: str
    number: int
    line: int
    function: str
    text: str

    @property
    def module(self) -> str:
        """Import name."""
        name = self.path.removesuffix(".py").replace("/", ".")
        return PACKAGE + name.removesuffix(".__init__")


class _Mutator(ast.NodeTransformer):
    """Counts the places for a change, and makes the one that is asked for."""

    def __init__(self, wanted: int | None) -> None:
        self.wanted, self.count = wanted, 0
        self.found: list[tuple[int, str, str]] = []
        self.scope: list[tuple[str, bool]] = []

    def _offer(self, node: ast.AST, change: Callable[[], ast.AST], text: str) -> ast.AST:
        number, self.count = self.count, self.count + 1
        function = ".".join(name for name, _ in self.scope) if any(is_code for _, is_code in self.scope) else ""
        self.found.append((getattr(node, "lineno", 0), function, text))
        return ast.copy_location(change(), node) if number == self.wanted else node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns", "decorator_list", "type_params"}:
                continue
            if isinstance(value, list):
                value[:] = [self.visit(item) if isinstance(item, ast.AST) else item for item in value]
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:  # noqa: N802
        return node  # wording

    def visit_Import(self, node: ast.Import) -> ast.AST:  # noqa: N802
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:  # noqa: N802
        return self._scoped(node, is_code=False)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # noqa: N802
        scope, self.scope = self.scope, []  # defaults are made when the module is
        node.args = self.visit(node.args)
        self.scope = scope
        self.scope.append((node.name, True))
        node.body = [self.visit(item) for item in node.body]
        self.scope.pop()
        return node

    def _scoped(self, node: Any, *, is_code: bool) -> ast.AST:
        self.scope.append((node.name, is_code))
        made = self.generic_visit(node)
        self.scope.pop()
        return made

    def visit_Compare(self, node: ast.Compare) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        for at, operator in enumerate(node.ops):
            other = SWAPS[type(operator)]
            changed = copy.deepcopy(node)
            changed.ops[at] = other()  # type: ignore[call-overload]
            made = self._offer(node, lambda changed=changed: changed, f"{ast.unparse(node)} → {ast.unparse(changed)}")
            if made is not node:
                return made
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        if type(node.op) not in SWAPS or isinstance(node.left, (ast.JoinedStr, ast.List)):
            return node
        changed = copy.deepcopy(node)
        changed.op = SWAPS[type(node.op)]()  # type: ignore[assignment]
        return self._offer(node, lambda: changed, f"{ast.unparse(node)} → {ast.unparse(changed)}")

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        changed = copy.deepcopy(node)
        changed.op = SWAPS[type(node.op)]()  # type: ignore[assignment]
        return self._offer(node, lambda: changed, f"{ast.unparse(node)} → {ast.unparse(changed)}")

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        return self._offer(node, lambda: node.operand, f"{ast.unparse(node)} → {ast.unparse(node.operand)}")

    def visit_Constant(self, node: ast.Constant) -> ast.AST:  # noqa: N802
        value = node.value
        if isinstance(value, bool):
            other: Any = not value
        elif isinstance(value, int):
            other = value + 1
        elif isinstance(value, float):
            other = value * 2 + (value == 0)
        else:
            return node
        return self._offer(node, lambda: ast.Constant(other), f"{value!r} → {other!r}")

    def visit_Name(self, node: ast.Name) -> ast.AST:  # noqa: N802
        other = NAMES.get(node.id)
        return node if other is None else self._offer(node, lambda: ast.Name(other, node.ctx), f"{node.id} → {other}")

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        other = NAMES.get(node.attr)
        if other is None:
            return node
        return self._offer(
            node, lambda: ast.Attribute(node.value, other, node.ctx), f"{ast.unparse(node)} → … .{other}"
        )

    def _test(self, node: Any) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.test, (ast.Compare, ast.UnaryOp, ast.BoolOp)):
            return node  # changed already
        changed = copy.deepcopy(node)
        changed.test = ast.UnaryOp(ast.Not(), changed.test)
        return self._offer(node, lambda: changed, f"if {ast.unparse(node.test)} → if not …")

    visit_If = visit_IfExp = visit_While = _test  # noqa: N815

    def visit_Continue(self, node: ast.Continue) -> ast.AST:  # noqa: N802
        return self._offer(node, ast.Break, "continue → break")

    def visit_Break(self, node: ast.Break) -> ast.AST:  # noqa: N802
        return self._offer(node, ast.Continue, "break → continue")

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        return self._offer(node, ast.Pass, f"{ast.unparse(node)} → pass")

    def visit_Expr(self, node: ast.Expr) -> ast.AST:  # noqa: N802
        if isinstance(node.value, ast.Constant):
            return node
        self.generic_visit(node)
        return self._offer(node, ast.Pass, f"{ast.unparse(node)[:70]} → pass")


def sources() -> Iterator[Path]:
    """The files that are mutated."""
    for target in TARGETS:
        path = ROOT / target
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def mutants() -> list[Mutant]:
    """All mutants, in the order of the source."""
    made = []
    for path in sources():
        mutator = _Mutator(None)
        mutator.visit(ast.parse(path.read_text(encoding="utf-8")))
        name = str(path.relative_to(ROOT))
        made += [
            Mutant(path=name, number=number, line=line, function=function, text=text)
            for number, (line, function, text) in enumerate(mutator.found)
        ]
    return made


def code_of(mutant: Mutant) -> types.CodeType:
    """The module's code with the change in it."""
    path = ROOT / mutant.path
    tree = ast.fix_missing_locations(_Mutator(mutant.number).visit(ast.parse(path.read_text(encoding="utf-8"))))
    return compile(tree, str(path), "exec")


# ---- putting a mutant in place


def put_into_function(mutant: Mutant) -> None:
    """Give the loaded function the mutant's code: whoever imported it by name has the mutant too."""
    module = sys.modules[mutant.module]
    code = code_of(mutant)
    found: Any = module
    for at, part in enumerate(mutant.function.split(".")):
        code = next(item for item in code.co_consts if isinstance(item, types.CodeType) and item.co_name == part)
        if not isinstance(found, (types.ModuleType, type)):
            break
        found = vars(found)[part]
        found = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
        while hasattr(found, "__wrapped__"):
            if hasattr(found, "cache_clear"):
                found.cache_clear()
            found = found.__wrapped__
        if isinstance(found, types.FunctionType):
            found.__code__ = code  # a function inside it is one of its constants
            return
        del at
    raise LookupError(f"{mutant.module} has no function {mutant.function}")


class _Loader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from the mutant's code."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        del target
        if fullname != self.mutant.module:
            return None
        finders = [finder for finder in sys.meta_path if finder is not self]
        spec = next(made for finder in finders if (made := finder.find_spec(fullname, path)) is not None)
        spec.loader = self
        return spec

    def exec_module(self, module: types.ModuleType) -> None:
        exec(code_of(self.mutant), module.__dict__)  # noqa: S102


def put_at_import(mutant: Mutant) -> None:
    """Forget our modules and import them again, one of them mutated."""
    for name in [name for name in sys.modules if name.startswith((PACKAGE + "harness", PACKAGE + "reports"))]:
        del sys.modules[name]
    sys.meta_path.insert(0, _Loader(mutant))


# ---- the corpus


def record_corpus(path: Path, seed: int) -> None:
    """Run the cells once and keep their records, a JSON line each."""
    from dataclasses import replace

    from stepaudit.harness.ledger import Outcome
    from stepaudit.harness.running.request import CellRequest
    from stepaudit.harness.subjects import resolve
    from stepaudit.scenarios import ModelKind, Precision, Scenario, Tier
    from stepaudit.scenarios.faults import FAULTS, UNUSUAL
    from stepaudit.scenarios.suites import load_suite

    draw = random.Random(seed)
    suite = [*load_suite("default").scenarios, *load_suite("boundary").scenarios]
    traced = [
        scenario
        for scenario in suite
        if scenario.model is ModelKind.TRACER and scenario.rows <= 24 and (scenario.max_steps or 0) <= 30 and scenario.epochs <= 5
    ]
    # Checkpoints, evaluations and sparse logs are rare in the suites: as many again that ask for them.
    asking = [
        replace(scenario, save_steps=2 + at % 2, eval_steps=3 - at % 2, logging_steps=1 + at % 3)
        for at, scenario in enumerate(traced)
        if scenario.resume_at is None
    ]
    traced += draw.sample(asking, len(traced) * 2 // 3)
    seeded = [(f"fault@{name}", 5) for name in FAULTS] + [(f"unusual@{name}", 3) for name in UNUSUAL]
    asked = [
        *seeded, ("hf", 70), ("accelerate", 20), ("plain", 20), ("hf-numeric", 9), ("hf-resumed", 6), ("fused-resumed", 3), ("plain-numeric", 3),
        *((f"fault@{name}-numeric", 2) for name, fault in FAULTS.items() if fault.loop.mixed_precision), ("unusual@scales-the-loss-numeric", 2),
        *((f"fault@{name}-resumed", 2) for name, fault in FAULTS.items() if fault.loop.resumes), ("unusual@resumes-exactly-resumed", 3),
        *((f"{kind}-numeric", 1) for kind in ("fault@mean-of-means", "fault@never-zeroes", "fault@logs-sum", "fault@advances-twice", "fault@clips-to-one-always", "unusual@scales-the-mean")),
    ]  # fmt: skip
    errors: Counter[str] = Counter()
    count = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    file = gzip.open(path.with_suffix(".part"), "wt", encoding="utf-8", compresslevel=3)
    subjects = {name: resolve(name.removesuffix("-numeric").removesuffix("-resumed")) for name, _ in asked}  # a wrong name is told at once
    for wanted, most in asked:
        name = wanted.removesuffix("-numeric").removesuffix("-resumed")
        subject = subjects[wanted]
        if wanted.endswith("-resumed"):
            pool = [
                Scenario(rows=rows, grad_accum=2, max_steps=None, epochs=2, save_steps=1, resume_at=at, logging_steps=1)
                for rows in (7, 9, 12)
                for at in (1, 3)
            ]
        elif wanted != name:
            base = Scenario(rows=7, grad_accum=2, max_steps=None, epochs=2, logging_steps=1, model=ModelKind.TINY_LLAMA, tier=Tier.NUMERIC)  # fmt: skip
            pool = [replace(base, rows=rows, max_grad_norm=norm) for rows in (7, 9, 12) for norm in (0.0, 0.5)]
            pool += [replace(base, rows=9, precision=precision) for precision in Precision]
        else:
            pool = [scenario for scenario in traced if subject.supports(scenario) is None]
        pool = [scenario for scenario in pool if subject.supports(scenario) is None]
        for scenario in draw.sample(pool, min(most, len(pool))):
            request = CellRequest(
                cell_id=hashlib.sha256(f"{name} {scenario.label}".encode()).hexdigest(), scenario=scenario, subject=name,
                contract=subject.contract, versions={"torch": "2.13.0", "transformers": "5.0.0"}, device="cpu", timeout_s=120.0,
            )  # fmt: skip
            if scenario.model is ModelKind.TRACER:
                text = _recorded(request)
            else:  # what one cell takes in memory, the next one shall have too
                text = child(lambda request=request: _recorded(request), most=LONGEST_CELL)
            if not text.startswith("{"):
                errors[f"{name}: {scenario.label}: {text}"] += 1
                continue
            if json.loads(text)["outcome"] == Outcome.ERROR:
                errors[f"{name}: {json.loads(text)['error']['message']}"] += 1
            if len(text) <= MOST_CHARACTERS:
                file.write(text + "\n")
                count += 1
    file.close()
    path.with_suffix(".part").rename(path)
    print(f"recorded {count} cells; {sum(errors.values())} ended with an error: {dict(errors.most_common(5))}")


def _recorded(request: Any) -> str:
    """Run one cell and return its record as JSON."""
    import tempfile

    from stepaudit.harness.ledger import record_to_json
    from stepaudit.harness.running.cell import execute

    with tempfile.TemporaryDirectory() as scratch:
        return record_to_json(execute(request, Path(scratch)))


def read_corpus(path: Path) -> list[str]:
    """The records as JSON."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


# ---- the oracle


class Oracle:
    """All that is said of the corpus, in small answers that are compared one by one."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.records: list[Any] | None = None

    def load(self) -> None:
        """Parse the records; without this every answer parses its own."""
        from stepaudit.harness.ledger import record_from_json

        self.records = [record_from_json(line) for line in self.lines]

    def answers(self) -> Iterator[str]:
        """Predictions, verdicts, scores, run verdicts: always as many, in the same order."""
        contract = importlib.import_module(PACKAGE + "harness.contract")
        cells = importlib.import_module(PACKAGE + "harness.judging.cells")
        ledger = importlib.import_module(PACKAGE + "harness.ledger")
        records: list[Any] = []
        verdicts: dict[str, list[Any]] = {}
        yield from self.predictions(contract)
        for at, line in enumerate(self.lines):
            record = self.records[at] if self.records is not None else ledger.record_from_json(line)
            records.append(record)
            judged = cells.judge_cell(record, contract.contract_named(record.contract), (), today=TODAY)
            verdicts.setdefault(record.subject, []).append(judged.verdict)
            yield judged.verdict.model_dump_json()
            account = ledger.account_of(record.events)
            yield repr(contract.observed_curves(account, record.scenario))
            if at % 3 == 0:  # the older promises, which no seeded loop makes
                older = cells.judge_cell(record, contract.contract_named("hf-4.45"), (), today=TODAY)
                yield older.verdict.model_dump_json()
        yield from self.scores(verdicts)
        yield from self.runs(records)

    def predictions(self, contract: Any) -> Iterator[str]:
        """The expected accounts of the corpus' scenarios under every contract, one by one and vectorised."""
        from stepaudit.scenarios import scenario_from_mapping

        scenarios = [scenario_from_mapping(json.loads(line)["scenario"]) for line in self.lines[::9]]
        vectorised = importlib.import_module(PACKAGE + "harness.contract.vectorised")
        for promised in contract.CONTRACTS.values():
            for scenario in scenarios:
                yield repr(contract.expect(scenario, promised))
            yield _vectorised_answer(vectorised, promised)

    def scores(self, verdicts: dict[str, list[Any]]) -> Iterator[str]:
        """What `stepaudit faults` says."""
        score = importlib.import_module(PACKAGE + "harness.judging.score")
        from stepaudit.scenarios.faults import FAULTS

        faults, unusual = [], []
        for subject, cells in verdicts.items():
            kind, _, name = subject.partition("@")
            if kind == "fault":
                faults.append(score.score_fault(name, FAULTS[name].rule, FAULTS[name].family.value, cells))
            elif kind == "unusual":
                unusual.append(score.score_unusual(name, cells))
        whole = score.Score(faults=tuple(faults), unusual=tuple(unusual))
        yield repr((whole, whole.false_alarms, whole.unjudged, whole.is_perfect, [whole.caught(way) for way in score.Catch]))

    def runs(self, records: list[Any]) -> Iterator[str]:
        """Whole runs, with and without known deviations, flaky cells, an interruption, a bound."""
        run = importlib.import_module(PACKAGE + "harness.judging.run")
        known = _known_deviations()
        few = records[:: max(1, len(records) // 150)]
        clean = [record for record in records if record.subject.startswith("unusual@")][:20]
        reference = [record for record in records if record.subject == "hf"]
        first = clean[3].cell_id
        for chosen, entries, extra in (
            (few, (), {}),
            (few, known, {}),
            (clean, (), {"executed": 5, "from_store": 15, "repeated": 2, "pairs": (3, 4)}),
            (clean, known, {}),
            (clean, (), {"flaky": frozenset([first])}),
            (clean, (), {"interrupted": True}),
            (clean, (), {"rules": frozenset(["target"])}),
            (clean, (), {"contract": "hf-4.45"}),
            ([], (), {}),
        ):
            facts = run.RunFacts(
                command="stepaudit run", suite="corpus", started="2030-01-01T00:00:00Z", seconds=1.0, **extra
            )
            verdict = run.judge_run(iter(chosen), entries, facts, reference=iter(reference), today=TODAY)
            table = json.loads(verdict.model_dump_json())
            table.pop("environment", None)
            yield json.dumps(table, sort_keys=True)


def _vectorised_answer(module: Any, promised: Any) -> str:
    """The counts of a grid at once, as numbers."""
    import itertools

    import numpy as np

    grid = list(itertools.product((1, 2, 3, 7, 9, 13, 16), (1, 2, 4), (1, 2, 3, 8), (1, 2), (0, 1, 5), (0.5, 1.5, 3.0), (False, True)))
    rows, B, A, R, limit, epochs, drop = (np.array(column) for column in zip(*grid, strict=True))
    columns = module.Columns(
        rows=rows, per_device_batch_size=B, grad_accum=A, ranks=R, max_steps=limit, epochs=epochs, drop_last=drop
    )
    with np.errstate(all="ignore"):
        predicted = module.predict_columns(columns, promised)
    names = ("M", "U", "T", "optimizer_steps", "micro_batches", "epochs_entered")
    return hashlib.sha256(json.dumps([getattr(predicted, name).tolist() for name in names]).encode()).hexdigest()


KNOWN = """
schema = 1
"""
ENTRY = """
[[known]]
id = "{id}"
rule = "{rule}"
subject = "{subject}"
where = "{where}"
{value}
reason = "for the corpus"
upstream = "nowhere"
owner = "nobody"
added = {added}
expires = {expires}
"""


def _known_deviations() -> Any:
    """Entries that hold, drift, are stale, have expired."""
    import tempfile

    from stepaudit.scenarios.known import load_known

    now, past = {"added": "2029-12-01", "expires": "2030-03-01"}, {"added": "2029-10-01", "expires": "2029-12-31"}
    wrong = 'got_formula = "T + 1"'
    text = KNOWN + "".join(
        ENTRY.format(id=name, rule=rule, subject=subject, where=where, value=value, **life)
        for name, rule, subject, where, value, life in (
            ("holds", "target", "fault@one-update-too-many", "", wrong, now),
            ("any-value", "weight", "fault@not-divided", "", "", now),
            ("drifts", "target", "fault@epochs-times-max-steps", "", 'got_formula = "T + 1000"', now),
            ("over", "claim", "fault@claims-one-less", "", "", past),
            ("stale", "target", "unusual@*", "", "", now),
            ("stale-and-over", "claim", "unusual@prefetches", "", "", past),
        )
    )
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "known.toml"
        path.write_text(text)
        return load_known(path)


def differs(oracle: Oracle, truth: list[str]) -> str | None:
    """Return the first answer that is another than before, or None."""
    count = 0
    for count, (got, want) in enumerate(zip(oracle.answers(), truth, strict=False), 1):  # noqa: B007
        if got != want:
            return f"answer {count}"
    return None if count == len(truth) else f"{count} answers"


# ---- the run


def child(action: Callable[[], str], most: float = MOST_SECONDS) -> str:
    """Run `action` in a forked child and return what it says; `hangs` or `crashes` where it says nothing."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        signal.alarm(max(1, int(most)))
        try:
            said = action()
        except BaseException as error:  # noqa: BLE001
            said = f"raises {type(error).__name__}"
        with os.fdopen(writing, "wb") as file:
            file.write(said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        said = file.read().decode()
    _, status = os.waitpid(pid, 0)
    return said or ("hangs" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM else "crashes")


def attempt(mutant: Mutant, oracle: Oracle, truth: list[str]) -> str:
    """What kills a mutant, or nothing."""

    def action() -> str:
        if mutant.function:
            put_into_function(mutant)
        else:
            put_at_import(mutant)
            oracle.records = None
        return differs(oracle, truth) or "survives"

    said = child(action)
    return "" if said == "survives" else said


def attempt_with_tests(mutant: Mutant, paths: list[str]) -> str:
    """Whether the unit tests kill a survivor."""

    def action() -> str:
        put_at_import(mutant)
        import pytest

        os.chdir(ROOT)
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *paths])
        return "survives" if code == 0 else f"tests end with {int(code)}"

    said = child(action, most=240)
    return "" if said == "survives" else said


def sample(everything: list[Mutant], most: int, seed: int) -> list[Mutant]:
    """As many of each file as its share, by the seed."""
    if most >= len(everything):
        return everything
    draw = random.Random(seed)
    chosen = draw.sample(everything, most)
    return sorted(chosen, key=lambda item: (item.path, item.number))


def main() -> int:
    """Run; 0 unless the corpus itself does not give the same answer twice."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--most", type=int, default=400, help="mutants that are tried (sampled)")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", default="", help="part of a path: only mutants of these files")
    options.add_argument("--budget", type=float, default=500.0, help="seconds after which no further mutant is begun")
    options.add_argument("--corpus", type=Path, default=ROOT / "stepaudit-out" / "mutation" / "corpus.jsonl.gz")
    options.add_argument("--tests", action="store_true", help="give the survivors to the unit tests too")
    chosen = options.parse_args()
    if not chosen.corpus.is_file():
        began = time.perf_counter()
        if os.fork() == 0:  # torch stays out of this process
            record_corpus(chosen.corpus, chosen.seed)
            sys.stdout.flush()
            os._exit(0)
        os.wait()
        print(f"corpus made in {time.perf_counter() - began:.0f} s")
    oracle = Oracle(read_corpus(chosen.corpus))
    oracle.load()
    began = time.perf_counter()
    truth = list(oracle.answers())
    print(f"{len(oracle.lines)} cells, {len(truth)} answers in {time.perf_counter() - began:.1f} s")
    everything = [mutant for mutant in mutants() if chosen.only in mutant.path]
    todo = sample(everything, chosen.most, chosen.seed)
    if (again := child(lambda: differs(oracle, truth) or "same", most=240)) != "same":
        print(f"the unchanged code gives another {again} the second time: nothing can be measured")
        return 1

    began = time.perf_counter()
    tried, survivors = [], []
    kinds: Counter[str] = Counter()
    order = random.Random(chosen.seed).sample(todo, len(todo))  # where time runs out, the rest is a fair sample too
    for mutant in order:
        if time.perf_counter() - began > chosen.budget:
            break
        tried.append(mutant)
        killer = attempt(mutant, oracle, truth)
        kinds[killer.split()[0] if killer else "survives"] += 1
        if not killer:
            survivors.append(mutant)
    by_corpus = len(tried) - len(survivors)
    print(
        f"{by_corpus} of {len(tried)} mutants killed by the corpus ({by_corpus / max(len(tried), 1):.1%}); "
        f"{len(everything)} there are, {len(todo)} sampled with seed {chosen.seed}, {len(todo) - len(tried)} not begun; "
        f"{time.perf_counter() - began:.0f} s; {dict(kinds)}"
    )
    if chosen.tests:
        paths = [path for path in ("tests/unit/contract", "tests/unit/judging", "tests/unit/ledger") if (ROOT / path).is_dir()]
        left = [mutant for mutant in survivors if not attempt_with_tests(mutant, paths)]
        print(f"{len(survivors) - len(left)} of the {len(survivors)} survivors killed by {', '.join(paths)}")
        survivors = left
    files = Counter(mutant.path for mutant in tried)
    alive = Counter(mutant.path for mutant in survivors)
    for path, count in sorted(files.items()):
        print(f"  {path:44} {count - alive[path]:4} of {count:4} killed")
    for mutant in sorted(survivors, key=lambda item: (item.path, item.line)):
        print(f"survives  {mutant.path}:{mutant.line}  {mutant.function or '(module)'}  {mutant.text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
