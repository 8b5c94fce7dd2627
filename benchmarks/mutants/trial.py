"""Runs in the copied tree: one collection of the tests, then a forked child for every mutant.

A mutant of a function is put in place as that function's code; a mutant at module level by importing everything again
from the changed module. A child runs only the tests that reached the function when the unchanged code ran, the quickest
first, up to the first that fails. Answers are JSON lines on the descriptor that the caller names.

    python -P -m mutants.trial ROOT MUTANTS.json ANSWERS TEST ...
"""

from __future__ import annotations

import importlib
import importlib.abc
import json
import os
import resource
import select
import signal
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .operators import Mutant, code_of, function_code

PATIENCE, GRACE_S = 10.0, 20.0
"""a mutant may take so many times as long as the unchanged code, and this: after that it hangs"""
MOST_MEMORY = 6 * 2**30
"""bytes of address space that a child may take beyond its parent's"""
OURS = ("stepaudit.",)
JUDGES = ("harness/contract/", "harness/judging/")
"""what has no part in running a cell"""
QUIET = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "timeout=0"]
QUIET += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]


class Trial:
    """A pytest plugin whose loop over the tests is a loop over the mutants."""

    def __init__(self, root: Path, mutants: Sequence[Mutant], tell: Callable[[dict[str, Any]], None]) -> None:
        self.root = root
        self.mutants = mutants
        self.tell = tell
        self.files: dict[str, str] = {}
        """file as its code names it, to path from the root"""
        self.reached: dict[tuple[str, str], list[int]] = {}
        """(path, function) to the tests that reach it"""
        self.seconds: list[float] = []
        self.broken: set[int] = set()
        """tests that fail on the unchanged code: they would kill every mutant"""
        self.failed = False
        """whether the test that runs has failed"""

    def pytest_configure(self) -> None:
        """Draw the same examples for every mutant."""
        from hypothesis import settings

        settings.register_profile("mutants", derandomize=True, database=None, deadline=None)
        settings.load_profile("mutants")
        if all(mutant.path.startswith(JUDGES) for mutant in self.mutants):
            _remember_cells()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Hear what became of a test."""
        self.failed |= report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests on the unchanged code, then on every mutant."""
        for mutant in self.mutants:
            self.files[str(importlib.import_module(mutant.module).__file__)] = mutant.path
        strangers = [
            file for file in self.files if not Path(file).resolve().is_relative_to(self.root.parent.resolve())
        ]
        assert not strangers, f"not the copied code: {strangers}"
        began = time.monotonic()
        self.broken = {number for number in range(len(session.items)) if not self.learn(session, number)}
        self.broken |= self.control(session)
        broken = [session.items[number].nodeid for number in sorted(self.broken)]
        self.tell({"tests": len(session.items), "seconds": time.monotonic() - began, "broken": broken})
        for mutant in self.mutants:
            began = time.monotonic()
            tests = self.tests_of(session, mutant)
            killer = self.attempt(session, mutant, tests) if tests else ""  # what no test reaches survives
            self.tell(
                {
                    "number": mutant.number,
                    "path": mutant.path,
                    "killer": killer,
                    "tests": len(tests),
                    "seconds": round(time.monotonic() - began, 3),
                }
            )
        return True

    def learn(self, session: pytest.Session, number: int) -> bool:
        """Run one test on the unchanged code and note what it reaches; return whether it passes."""
        reached: set[tuple[str, str]] = set()

        def look(frame: types.FrameType, kind: str, argument: Any) -> None:
            del kind, argument
            path = self.files.get(frame.f_code.co_filename)
            if path is not None:
                reached.add((path, frame.f_code.co_qualname.split(".<", 1)[0]))

        before = sys.gettrace()
        began = time.monotonic()
        sys.settrace(look)
        try:
            passed = self.passes(session, number)
        finally:
            sys.settrace(before)
        self.seconds.append(time.monotonic() - began)
        for place in reached:
            self.reached.setdefault(place, []).append(number)
        return passed

    def control(self, session: pytest.Session) -> set[int]:
        """Run the tests once more on the unchanged code, in a child as a mutant's: one that fails judges nothing."""

        def run() -> str:
            return json.dumps(
                [number for number in range(len(session.items)) if not self.passes(session, number)]
            )

        said = child(run, GRACE_S + PATIENCE * sum(self.seconds))
        assert said.startswith("["), f"the unchanged code in a child: {said}"
        return set(json.loads(said))

    def passes(self, session: pytest.Session, number: int) -> bool:
        """Run one test; fixtures of the session stay up for the next."""
        item, self.failed = session.items[number], False
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=session)
        return not self.failed

    def tests_of(self, session: pytest.Session, mutant: Mutant) -> list[int]:
        """Return the tests that reach a mutant, the quickest first.

        For one at module level those that enter the file, then all of its folder's: who only reads a constant, an
        enumeration or a model of it enters nothing.
        """
        if mutant.function:
            return self.quickest(self.reached.get((mutant.path, mutant.function), ()))
        entering = self.quickest(
            number for (path, _), tests in self.reached.items() if path == mutant.path for number in tests
        )
        place = f"tests/unit/{mutant.path.split('/')[1]}/"
        rest = (number for number, item in enumerate(session.items) if item.nodeid.startswith(place))
        return [*entering, *self.quickest(set(rest) - set(entering))]

    def quickest(self, tests: Iterable[int]) -> list[int]:
        """Return tests in the order of their time, without those that judge nothing."""
        return sorted(set(tests) - self.broken, key=lambda number: (self.seconds[number], number))

    def attempt(self, session: pytest.Session, mutant: Mutant, tests: list[int]) -> str:
        """Return what kills a mutant; nothing if it survives."""

        def run() -> str:
            if mutant.function:
                put_into_function(self.root, mutant)
                return next(
                    (session.items[number].nodeid for number in tests if not self.passes(session, number)), ""
                )
            put_at_import(self.root, mutant)
            nodes = [session.items[number].nodeid for number in tests]
            return "" if pytest.main([*QUIET, "-x", *nodes]) == 0 else "a test, everything imported again"

        limit = GRACE_S + PATIENCE * sum(self.seconds[number] for number in tests)
        return child(run, limit)


def _remember_cells() -> None:
    """Run every cell once: a mutant judges the records that the unchanged code has made."""
    from stepaudit.harness.running import cell

    run, records = cell.execute, {}

    def execute(request: Any, scratch: Path) -> Any:
        """Return the record of an equal request."""
        key = (request.subject, request.scenario, request.contract, request.timeout_s)
        if key not in records:
            records[key] = run(request, scratch)
        return records[key]

    cell.execute = execute


def put_into_function(root: Path, mutant: Mutant) -> None:
    """Give a loaded function the mutant's code: whoever has imported it by name has the mutant too."""
    found: Any = sys.modules[mutant.module]
    for part in mutant.function.split("."):
        found = vars(found)[part]
    found = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    while hasattr(found, "__wrapped__"):
        if hasattr(found, "cache_clear"):
            found.cache_clear()
        found = found.__wrapped__
    found.__code__ = function_code(code_of(root, mutant), mutant.function)


class _Loader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from the mutant's code."""

    def __init__(self, root: Path, mutant: Mutant) -> None:
        self.root, self.mutant = root, mutant

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        """Answer for the one module."""
        del target
        if fullname != self.mutant.module:
            return None
        finders = [finder for finder in sys.meta_path if finder is not self]
        spec = next(made for finder in finders if (made := finder.find_spec(fullname, path)) is not None)
        spec.loader = self
        return spec

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the changed code."""
        exec(code_of(self.root, self.mutant), module.__dict__)  # noqa: S102 - our own source, one operator changed


def put_at_import(root: Path, mutant: Mutant) -> None:
    """Forget our modules and those of the tests, so that all are imported again, one of them mutated."""
    tests = str(root / "tests")
    for name, module in list(sys.modules.items()):
        if name.startswith(OURS) or str(getattr(module, "__file__", "")).startswith(tests):
            del sys.modules[name]
    sys.meta_path.insert(0, _Loader(root, mutant))


def child(action: Callable[[], str], limit: float) -> str:
    """Run `action` in a forked child and return what it says; a child that says nothing hangs or has crashed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        with _mute():
            try:
                used = (
                    int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
                    * resource.getpagesize()
                )
                resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, used + MOST_MEMORY))
                said = action() or "survives"
            except BaseException as error:  # noqa: BLE001 - a mutant may raise anything anywhere
                said = f"raises {type(error).__name__}: {str(error)[:200]}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    said, hangs = "", False
    ready, _, _ = select.select([reading], [], [], limit)
    if ready:
        said = os.read(reading, 1 << 16).decode()
    else:
        hangs = True
    os.close(reading)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if hangs:
        return f"hangs: more than {limit:.0f} s"
    return {"survives": "", "": "crashes"}.get(said, said)


@contextmanager
def _mute() -> Iterator[None]:
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    yield


def main(root: Path, mutants: Path, answers: int, tests: Sequence[str]) -> int:
    """Run the trial; 0 unless pytest itself fails."""
    chosen = [Mutant(**fields) for fields in json.loads(mutants.read_text(encoding="utf-8"))]

    def tell(answer: dict[str, Any]) -> None:
        os.write(answers, (json.dumps(answer) + "\n").encode())

    return int(pytest.main([*QUIET, *tests], plugins=[Trial(root, chosen, tell)]))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
