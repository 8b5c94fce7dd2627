"""Mutation run over the contract, the rules and the comparators: can the tests tell wrong code from right?

A mutant is the code with one small change (`<` for `<=`, `+` for `-`, a bound moved, a branch turned round, a
statement left out; never wording). It is killed when a unit test fails, and survives when all that reach it pass.
Every survivor is judged: a test is added that kills it, or benchmarks/mutants/judged.toml says why no test can.

    nice -n 10 python -P benchmarks/mutation.py [--sample N] [--seed S] [--module PART ...]
        [--budget SECONDS] [--answers FILE]

Exits with 1 when a survivor is not judged, or a judgement is stale: its mutant is killed now, or is no more.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.append(str(HERE))

from mutants.operators import Mutant, mutants_of  # noqa: E402

COPIED = ("harness", "kernels", "reports", "scenarios")
JUDGED = HERE / "mutants" / "judged.toml"
DRAWN = "tests/unit/contract/test_hostile_ledgers.py::test_rules_answer_whatever_the_ledger_holds"
"""1,500 drawn ledgers a mutant are left out: they say no more than that a rule raises, and cost more than all others"""
CONTRACT = (
    "tests/unit/contract",
    "tests/unit/judging",
    "tests/unit/ledger/test_account.py",
    f"--deselect={DRAWN}",
)
NUMERIC = ("tests/unit/numeric", "tests/quality/test_numeric_faults.py")
TESTS: dict[str, tuple[str, ...]] = {
    "harness/contract/curves.py": (*CONTRACT, *NUMERIC),
    "harness/contract/rules/numeric.py": (*CONTRACT, *NUMERIC),
    "harness/contract/rules/resume.py": (*CONTRACT, *NUMERIC),
    "harness/contract/rules/skip.py": (*CONTRACT, *NUMERIC),
    "harness/contract": CONTRACT,
    "harness/judging": CONTRACT,
    "harness/oracle": NUMERIC,
}
"""the fast tests of a file or folder, those that start no process; the first entry that fits a file is its own"""


class Judgement(BaseModel):
    """Why a surviving mutant is no hole in the tests."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: str
    function: str
    change: str
    reason: str

    @property
    def key(self) -> tuple[str, str, str]:
        """As a mutant's."""
        return self.path, self.function, self.change


class Judgements(BaseModel):
    """The file of judged survivors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: int
    equivalent: list[Judgement]


def main() -> int:
    """Make, try and judge; the exit code."""
    chosen = _options()
    judged = {item.key: item for item in read_judgements(JUDGED)}
    everything = [mutant for path in sources() for mutant in mutants_of(ROOT, path)]
    console = Console(highlight=False, markup=False, soft_wrap=True)
    gone = sorted(set(judged) - {mutant.key for mutant in everything})
    within = [
        mutant
        for mutant in everything
        if not chosen.module or any(part in mutant.path for part in chosen.module)
    ]
    if not within:
        console.print(f"no mutant in any of {', '.join(chosen.module)}; modules: {', '.join(sources())}")
        return 2
    # In the order of the draw: where the time runs out, what was tried is a fair sample too.
    drawn = random.Random(chosen.seed).sample(within, min(chosen.sample or len(within), len(within)))
    kept = Kept(chosen.answers)
    began = time.monotonic()
    for mutant, killer in run(
        [mutant for mutant in drawn if not kept.killer(mutant)], chosen.budget, console
    ):
        kept.add(mutant, killer)
    tried = [mutant for mutant in drawn if kept.killer(mutant) is not None]
    if not tried:
        console.print("X no mutant was tried: nothing can be said")
        return 3
    survivors = [mutant for mutant in tried if not kept.killer(mutant)]
    console.print(
        f"{len(tried)} of {len(within)} mutants tried (seed {chosen.seed}): {len(tried) - len(survivors)} killed "
        f"({1 - len(survivors) / len(tried):.1%}), {len(survivors)} survived; {time.monotonic() - began:.0f} s"
    )
    if len(tried) < len(drawn):
        console.print(f"{len(drawn) - len(tried)} more were drawn and not begun in {chosen.budget:g} s")
    console.print(_table(tried, survivors))
    return _conclude(console, tried, survivors, judged, gone)


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--sample", type=int, metavar="N", help="so many mutants, drawn by the seed; all otherwise"
    )
    options.add_argument("--seed", type=int, default=0, metavar="S")
    options.add_argument(
        "--module", action="append", default=[], metavar="PART", help="part of a path, may be repeated"
    )
    options.add_argument(
        "--budget", type=float, default=math.inf, metavar="S", help="seconds after which no mutant is begun"
    )
    options.add_argument(
        "--answers",
        type=Path,
        metavar="FILE",
        help="keep the answers; killed mutants are not tried again",
    )
    chosen = options.parse_args()
    if chosen.sample is not None and chosen.sample < 1:
        options.error(f"--sample must be at least 1, not {chosen.sample}")
    return chosen


class Kept:
    """Answers by mutant, kept in a file of JSON lines; one about another text of the mutant's file does not count."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.texts: dict[str, str] = {}
        self.killers: dict[tuple[str, ...], str] = {}
        if path is not None and path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                *key, killer = json.loads(line)
                self.killers[tuple(key)] = killer

    def key(self, mutant: Mutant) -> tuple[str, ...]:
        """The mutant, and the text of its file."""
        if mutant.path not in self.texts:
            self.texts[mutant.path] = hashlib.sha256((ROOT / mutant.path).read_bytes()).hexdigest()[:16]
        return (self.texts[mutant.path], *mutant.key)

    def killer(self, mutant: Mutant) -> str | None:
        """What kills a mutant; empty for a survivor, None where it was not tried."""
        return self.killers.get(self.key(mutant))

    def add(self, mutant: Mutant, killer: str) -> None:
        """Keep an answer."""
        self.killers[self.key(mutant)] = killer
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([*self.key(mutant), killer]) + "\n")


def read_judgements(path: Path) -> list[Judgement]:
    """Return the judged survivors.

    Raises:
        pydantic.ValidationError: the file is not as it should be.
    """
    import tomllib

    return Judgements.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).equivalent


def sources() -> list[str]:
    """Return the files that are mutated, from the root."""
    folders = [ROOT / place for place in TESTS if not place.endswith(".py")]
    return [str(path.relative_to(ROOT)) for folder in folders for path in sorted(folder.rglob("*.py"))]


def tests_of(path: str) -> tuple[str, ...]:
    """Return the tests that a mutant of this file is given."""
    return next(tests for place, tests in TESTS.items() if path.startswith(place))


def run(mutants: Sequence[Mutant], budget: float, console: Console) -> Iterator[tuple[Mutant, str]]:
    """Try mutants in a copy of the tree, those with the same tests together; yield each with its killer."""
    deadline = time.monotonic() + budget
    groups: dict[tuple[str, ...], list[Mutant]] = {}
    for mutant in mutants:
        groups.setdefault(tests_of(mutant.path), []).append(mutant)
    with _copy() as (root, namespace):
        for tests, mine in sorted(groups.items(), key=lambda item: -len(item[1])):
            by_place = {(mutant.path, mutant.number): mutant for mutant in mine}
            for answer in _trial(root, namespace, mine, tests, console):
                yield by_place[answer["path"], answer["number"]], answer["killer"]
                if time.monotonic() > deadline:
                    return


def _trial(
    root: Path, namespace: Path, mutants: Sequence[Mutant], tests: Sequence[str], console: Console
) -> Iterator[dict[str, Any]]:
    wanted = root / "mutants.json"
    wanted.write_text(json.dumps([asdict(mutant) for mutant in mutants]), encoding="utf-8")
    reading, writing = os.pipe()
    variables = (
        os.environ
        | {
            "PYTHONPATH": os.pathsep.join([str(namespace), str(HERE)]),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "MPLBACKEND": "agg",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_ADDOPTS": "-p no:stepaudit",  # an installed stepaudit's own plugin would import the installed code
        }
    )
    command = [sys.executable, "-P", "-m", "mutants.trial", str(root), str(wanted), str(writing), *tests]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=variables,
            pass_fds=[writing],
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as lines, _ended(process):
            for line in lines:
                answer = json.loads(line)
                if "broken" in answer:
                    console.print(
                        f"{answer['tests']} tests of {_folders(tests)}: {answer['seconds']:.0f} s unchanged"
                    )
                    for node in answer["broken"]:
                        console.print(f"X left out, since it fails on the unchanged code: {node}")
                else:
                    yield answer
        if process.returncode:
            said.seek(0)
            console.print(f"X the trial ended with {process.returncode}:")
            console.print("\n".join(said.read().splitlines()[-20:]))


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Wait for a process; end it and its children where nobody wants the rest of its answers."""
    try:
        yield
        process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def _copy() -> Iterator[tuple[Path, Path]]:
    """Copy code and tests, so that nobody's edits meanwhile are tried; yield the copy and the way to import it."""
    with tempfile.TemporaryDirectory(prefix="stepaudit-mutants-") as scratch:
        root, namespace = Path(scratch) / "tree", Path(scratch) / "namespace"
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        for folder in (*COPIED, "tests"):
            shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", root)
        (namespace / "stepaudit").mkdir(parents=True)
        for folder in COPIED:
            (root / folder).rename(namespace / "stepaudit" / folder)
            (root / folder).symlink_to(namespace / "stepaudit" / folder)
        yield root, namespace


def _folders(tests: Sequence[str]) -> str:
    return ", ".join(test for test in tests if not test.startswith("-"))


def _table(tried: Sequence[Mutant], survivors: Sequence[Mutant]) -> Table:
    table = Table(show_edge=False)
    for column in ("module", "mutants", "killed", "survived"):
        table.add_column(column, justify="left" if column == "module" else "right")
    every, alive = Counter(item.path for item in tried), Counter(item.path for item in survivors)
    for path, count in sorted(every.items()):
        table.add_row(path, str(count), str(count - alive[path]), str(alive[path]))
    return table


def _conclude(
    console: Console,
    tried: Sequence[Mutant],
    survivors: Sequence[Mutant],
    judged: dict[tuple[str, str, str], Judgement],
    gone: Sequence[tuple[str, str, str]],
) -> int:
    """Print the survivors with their judgements; 1 where one has none, or a judgement no mutant."""
    alive = {mutant.key for mutant in survivors}
    open_ones = [mutant for mutant in survivors if mutant.key not in judged]
    killed = [mutant for mutant in tried if mutant.key in judged and mutant.key not in alive]
    for mutant in survivors:
        if mutant.key in judged:
            console.print(f"  equivalent  {_place(mutant)}: {judged[mutant.key].reason}")
    for mutant in open_ones:
        console.print(f"X not judged  {_place(mutant)}")
    for mutant in killed:
        console.print(f"X stale judgement: killed now  {_place(mutant)}")
    for path, function, change in gone:
        console.print(f"X stale judgement: no such mutant  {path}  {function or '(module)'}  {change}")
    if open_ones or killed or gone:
        return 1
    console.print(f"{len(survivors)} survivors, all judged")
    return 0


def _place(mutant: Mutant) -> str:
    return f"{mutant.path}:{mutant.line}  {mutant.function or '(module)'}  {mutant.change}"


if __name__ == "__main__":
    sys.exit(main())
