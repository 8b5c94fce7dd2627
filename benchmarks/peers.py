"""The seeded faults given to the peers: who sees which, whether it is named, at what cost; stepaudit beside them.

Each peer's wheels are laid over the running environment (made by pip once, cached) and used through an adapter in
benchmarks/peers/, as the peer's own documentation says. Seconds are CPU seconds of the processes of a peer; lines are
those of the adapter that a user would have to write for loops like these. A fault that a peer cannot be asked about is
not missed by it: the reason stands in the table.

    python -P benchmarks/peers.py [--peer NAME ...] [--fault NAME ...|--fault all] [--jobs N] [--json FILE]

Without --fault: three faults of each family and six correct but unusual loops, and for TrainCheck, which takes minutes
for each, one of each family that it can be asked about. Exits with 1 where a peer sees a fault that stepaudit does not.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from stepaudit.harness.running.environment import EnvironmentFailedError
from stepaudit.scenarios import nearest
from stepaudit.scenarios.faults import FAULTS, UNUSUAL, Family

HERE = Path(__file__).resolve().parent / "peers"
sys.path.append(str(HERE))

from environments import PEERS, python_of, variables_of  # noqa: E402

OURS = "stepaudit"
FAMILY_SHARE, CORRECT_SHARE = 3, 6
SEEN = ("caught", "caught but unnamed")
ALONE = "runs one process: no ranks to be wrong about"
CANNOT: Mapping[str, Mapping[Family, str]] = {
    OURS: {Family.RANKS: "not asked here: `stepaudit faults` runs it, and no peer can"},
    "trainparity": {
        Family.GRADIENT: "runs a loop of its own over one window: the user's zeroing and clipping are not in it",
        Family.SCHEDULE: "control and candidate share the user's schedule: no notion of the rate that is due",
        Family.CLAIMS: "reads rows, one window and a checkpoint, nothing that a trainer says",
        Family.CADENCE: "has no notion of an evaluation or a checkpoint that is due",
        Family.PRECISION: "its window has no autocast and no grad scaler",
        Family.RANKS: "launches no distributed jobs (its README)",
    },
    "pytest-torch": {
        Family.TARGET: "calls the user's step so many times as it is told: how many are due is its caller's choice",
        Family.CLAIMS: "reads model, optimizer and returned loss, nothing that a trainer says",
        Family.CADENCE: "has no notion of an evaluation or a checkpoint that is due",
        Family.RESUME: "feeds the resumed loop itself, from the right batch on: the loop's own way back is never run",
        Family.RANKS: ALONE,
    },
    "traincheck": {
        Family.CLAIMS: "learns API calls and model state: what a trainer says is neither",
        Family.RESUME: "one script, one trace: two runs are not compared",
        Family.PRECISION: "its reference is one healthy run, in float32 here: a scaler's calls are unknown to it",
        Family.RANKS: ALONE,
    },
}
"""why a family is out of a peer's reach, whatever the adapter"""

Answers = dict[str, dict[str, Any]]


def main() -> int:
    """Ask the peers and print the tables; the exit code."""
    chosen = _options()
    peers = list(dict.fromkeys([OURS, *(chosen.peer or PEERS)]))
    loops = (
        [*FAULTS, *UNUSUAL]
        if "all" in chosen.fault
        else list(dict.fromkeys(chosen.fault)) or some(FAMILY_SHARE)
    )
    kept: dict[str, Answers] = {}
    if chosen.json and chosen.json.is_file():
        kept = json.loads(chosen.json.read_text(encoding="utf-8"))
    broken: dict[str, str] = {}
    for name in peers:
        answers = kept.setdefault(name, {})
        todo = [loop for loop in loops if loop not in answers and reason(name, loop) is None]
        if name in PEERS and PEERS[name].few and not chosen.fault:
            todo = [loop for loop in some(1) if loop in todo]

        def told(answer: dict[str, Any], answers: Answers = answers) -> None:
            answers[answer["name"]] = answer
            if chosen.json:
                chosen.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")

        try:
            ask(name, todo, chosen.jobs, told)
        except (EnvironmentFailedError, RuntimeError) as error:
            broken[name] = str(error)
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    show(console, {name: kept[name] for name in peers}, loops, broken)
    missed = worse(kept, loops)
    for name, loop in missed:
        console.print(f"X {name} sees {loop} and stepaudit does not: {kept[name][loop]['text'][:600]}")
    if not missed:
        console.print("no fault that a peer sees is missed here")
    return 1 if missed or broken else 0


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--peer", action="append", metavar="NAME", help=f"one of {', '.join(PEERS)}; all otherwise"
    )
    options.add_argument("--fault", action="append", default=[], metavar="NAME", help="a seeded loop, or all")
    options.add_argument("--jobs", type=int, default=1, metavar="N", help="processes of a peer side by side")
    options.add_argument(
        "--json", type=Path, metavar="FILE", help="keep the answers; those that it holds are not asked again"
    )
    chosen = options.parse_args()
    for name in chosen.peer or ():
        if name not in PEERS:
            options.error(f"there is no peer {name!r}{nearest(name, PEERS)}")
    loops = [*FAULTS, *UNUSUAL]
    for name in chosen.fault:
        if name not in {"all", *loops}:
            options.error(f"there is no seeded loop {name!r}{nearest(name, loops)}")
    if chosen.jobs < 1:
        options.error(f"--jobs must be at least 1, not {chosen.jobs}")
    return chosen


def some(share: int) -> list[str]:
    """Return so many faults of each family, and correct loops."""
    chosen = [
        name
        for family in Family
        for name in [name for name, fault in FAULTS.items() if fault.family is family][:share]
    ]
    correct = [name for name in UNUSUAL if all(reason(peer, name) is None for peer in CANNOT)]
    most = CORRECT_SHARE if share > 1 else 2
    return chosen + correct[:: max(1, len(correct) // most)][:most]


def reason(peer: str, loop: str) -> str | None:
    """Return why a peer cannot be asked about a loop, or None."""
    if loop in FAULTS:
        return CANNOT[peer].get(FAULTS[loop].family)
    kind = UNUSUAL[loop].loop
    for name, family in (("on_ranks", Family.RANKS), ("mixed_precision", Family.PRECISION)):
        if getattr(kind, name, False):
            return CANNOT[peer].get(family)
    return None


def ask(name: str, todo: Sequence[str], jobs: int, told: Callable[[dict[str, Any]], None]) -> None:
    """Hand each answer of a peer on as soon as it comes.

    Raises:
        EnvironmentFailedError: its wheels cannot be installed.
        RuntimeError: its process died; the message is what it said last.
    """
    if not todo:
        return
    peer = PEERS.get(name)
    variables, python = variables_of(peer), python_of(peer)
    command = [str(python), "-P", str(HERE / f"{peer.adapter if peer else 'with_stepaudit'}.py")]
    many = 1 if peer and peer.few else min(jobs, len(todo))  # its reference is made once

    def part(loops: Sequence[str]) -> None:
        with (
            tempfile.TemporaryDirectory() as scratch,
            tempfile.TemporaryFile("w+", encoding="utf-8") as complaints,
        ):
            with subprocess.Popen(
                [*command, *loops],
                cwd=scratch,
                env=variables,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
            ) as process:
                for line in process.stdout or ():
                    if line.startswith("PEER "):
                        told(json.loads(line.removeprefix("PEER ")))
            if process.returncode:
                complaints.seek(0)
                last = [line for line in complaints.read().splitlines() if line.strip()][-3:]
                raise RuntimeError(f"its process ended with {process.returncode}: {' | '.join(last)}")

    with ThreadPoolExecutor(max_workers=many) as pool:
        list(pool.map(part, [todo[at::many] for at in range(many)]))


def worse(kept: Mapping[str, Answers], loops: Iterable[str]) -> list[tuple[str, str]]:
    """Return the peers and faults where a peer sees what stepaudit does not."""
    ours = kept[OURS]
    return [
        (name, loop)
        for loop in loops
        if loop in FAULTS and ours.get(loop, {}).get("outcome") not in SEEN
        for name, answers in kept.items()
        if name != OURS and answers.get(loop, {}).get("outcome") in SEEN
    ]


def adapter_lines(name: str) -> int:
    """Count the lines that a user would write, comments and blank ones left out."""
    if name == OURS:
        from stepaudit.harness.subjects.seeded import SeededLoop

        text = inspect.getsource(SeededLoop.train)
    else:
        file = "flat_script.py" if name == "traincheck" else f"{PEERS[name].adapter}.py"
        marked = re.search(
            r"# ---- the adapter.*?\n(.*?)# ---- its end", (HERE / file).read_text(encoding="utf-8"), re.S
        )
        text = marked[1] if marked else ""
    lines = (line.strip() for line in text.splitlines())
    return sum(bool(line) and not line.startswith(("#", '"""')) for line in lines)


def show(
    console: Console, kept: Mapping[str, Answers], loops: Sequence[str], broken: Mapping[str, str]
) -> None:
    """Print a row for every loop, totals as ratios, and the reasons."""
    table = Table(show_edge=False)
    for column in ("loop", "family", *kept):
        table.add_column(column)
    for loop in loops:
        family = FAULTS[loop].family.value if loop in FAULTS else "correct but unusual"
        table.add_row(loop, family, *(_cell(name, loop, kept[name]) for name in kept))
    console.print(table)
    console.print()

    totals = Table(show_edge=False)
    for column in ("", *kept):
        totals.add_column(column)
    faults = [loop for loop in loops if loop in FAULTS]
    for family in Family:
        mine = [loop for loop in faults if FAULTS[loop].family is family]
        if mine:
            totals.add_row(f"{family.value}: seen", *(_ratio(kept[name], mine, SEEN) for name in kept))
    totals.add_row("all faults asked about: seen", *(_ratio(kept[name], faults, SEEN) for name in kept))
    totals.add_row("… and named", *(_ratio(kept[name], faults, SEEN[:1]) for name in kept))
    totals.add_row("faults it cannot express", *(_unasked(name, faults) for name in kept))
    correct = [loop for loop in loops if loop in UNUSUAL]
    totals.add_row("false alarms about correct loops", *(_ratio(kept[name], correct, SEEN) for name in kept))
    for outcome in ("abstained", "error"):
        totals.add_row(outcome, *(_ratio(kept[name], loops, (outcome,)) for name in kept))
    totals.add_row("CPU seconds a loop", *(_mean(kept[name], loops) for name in kept))
    totals.add_row("lines that a user writes", *(str(adapter_lines(name)) for name in kept))
    console.print(totals)
    console.print()
    for name in kept:
        for family, why in CANNOT[name].items():
            console.print(f"{name} cannot express {family.value}: {why}")
        if ready := kept[name].get(""):
            console.print(f"{name}: {ready['text']}; made in {ready['seconds']:.0f} CPU s, once")
        if name in broken:
            console.print(f"X {name}: {broken[name]}")
        for loop in loops:
            answer = kept[name].get(loop, {"outcome": ""})
            if answer["outcome"] in {"abstained", "error"} or (loop in UNUSUAL and answer["outcome"] in SEEN):
                console.print(
                    f"{name}, {loop}: {answer['outcome']}: {' '.join(answer['text'].split())[:300]}"
                )


def _cell(name: str, loop: str, answers: Answers) -> str:
    if loop in answers:
        answer = answers[loop]
        outcome = answer["outcome"]
        if loop in UNUSUAL:
            outcome = {"missed": "passes", "caught": "false alarm", "caught but unnamed": "false alarm"}.get(
                outcome, outcome
            )
        return f"{outcome}, {answer['seconds']:.1f} s"
    return "not asked" if reason(name, loop) is None else "cannot express it"


def _ratio(answers: Answers, loops: Iterable[str], outcomes: Sequence[str]) -> str:
    asked = [loop for loop in loops if loop in answers]
    return f"{sum(answers[loop]['outcome'] in outcomes for loop in asked)}/{len(asked)}" if asked else "-"


def _unasked(name: str, faults: Sequence[str]) -> str:
    return f"{sum(reason(name, loop) is not None for loop in faults)}/{len(faults)}"


def _mean(answers: Answers, loops: Iterable[str]) -> str:
    spent = [answers[loop]["seconds"] for loop in loops if loop in answers]
    return f"{sum(spent) / len(spent):.1f}" if spent else "-"


if __name__ == "__main__":
    sys.exit(main())
