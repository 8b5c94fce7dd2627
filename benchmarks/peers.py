"""The seeded faults given to the peers: who sees which, by what check, at what cost; stepaudit beside them.

Each peer runs in a virtual environment of its own, made on demand (torch is shared), through an adapter in
`benchmarks/peers/` that uses it as its own documentation says and names its limits. Seconds are CPU seconds of the
peer's processes; lines are those of the adapter that a user would have to write for a loop like these.

    python -P benchmarks/peers.py [--peers NAME ...] [--faults NAME ...|all] [--cache DIR] [--json FILE]

By default four faults of each family and eight correct but unusual loops go to stepaudit, pytest-torch and TrainParity,
and about one of each family to TrainCheck, which needs half a minute for each. `--faults all` gives everything to all.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from stepaudit.scenarios import nearest
from stepaudit.scenarios.faults import FAULTS, UNUSUAL

HERE = Path(__file__).resolve().parent / "peers"
sys.path.insert(0, str(HERE))

from environments import PEERS, Peer, environment, python_of  # noqa: E402

#: One fault a family, chosen for TrainCheck's strength: the order of calls.
FEW = (
    "epochs-times-max-steps", "last-window-zeroed", "mean-of-means", "never-zeroes", "clips-every-micro-batch",
    "advances-before-update", "logs-next-rate", "evaluates-twice-at-the-end", "clips-by-hand",
)  # fmt: skip
#: Why a fault of this family can be out of a peer's sight, whatever the adapter.
OUT_OF_SIGHT = {
    "trainparity": "runs its own loop over one window, and audits rows; no notion of steps, rates, claims, cadence",
    "pytest-torch": "drives the steps itself; no notion of how many there should be, of claims, cadence",
    "traincheck": "learns which calls go together from a healthy run; no notion of counts or of claims",
}
Answers = dict[str, dict[str, Any]]


def main() -> int:
    """Run the peers that are asked for and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--peers", nargs="+", default=["stepaudit", *PEERS], metavar="NAME")
    options.add_argument("--faults", nargs="+", default=[], metavar="NAME", help="names of seeded loops, or all")
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "stepaudit" / "peers"
    options.add_argument("--cache", type=Path, default=default)
    options.add_argument("--json", type=Path, help="write the answers there too; answers that it holds are not asked again")
    chosen = options.parse_args()
    for name in chosen.peers:
        if name not in {"stepaudit", *PEERS}:
            options.error(f"there is no peer {name!r}{nearest(name, ['stepaudit', *PEERS])}")
    everything = [*FAULTS, *UNUSUAL]
    for name in chosen.faults:
        if name != "all" and name not in everything:
            options.error(f"there is no seeded loop {name!r}{nearest(name, everything)}")
    asked = list(dict.fromkeys(chosen.faults)) or some()
    if "all" in asked:
        asked = everything

    kept: dict[str, Answers] = json.loads(chosen.json.read_text()) if chosen.json and chosen.json.is_file() else {}
    broken: dict[str, str] = {}
    for name in chosen.peers:
        answers = kept.setdefault(name, {})
        few = name in PEERS and PEERS[name].few and not chosen.faults
        todo = [item for item in (FEW if few else asked) if item not in answers]
        try:
            for answer in ask(name, todo, chosen.cache):
                answers[answer["name"]] = answer
                if chosen.json:
                    chosen.json.write_text(json.dumps(kept, indent=1))
        except RuntimeError as error:
            broken[name] = str(error)
    show({name: kept[name] for name in chosen.peers}, asked, broken)
    return 0


def some() -> list[str]:
    """Four faults of each family, among them those that TrainCheck is given, and eight correct loops."""
    chosen = list(FEW)
    for family in dict.fromkeys(fault.family for fault in FAULTS.values()):
        of = [name for name, fault in FAULTS.items() if fault.family is family and name not in FEW]
        chosen += of[: 4 - sum(name in FAULTS and FAULTS[name].family is family for name in FEW)]
    chosen += [name for name in UNUSUAL if name not in FEW][: 8 - sum(name in UNUSUAL for name in FEW)]
    return [name for name in (*FAULTS, *UNUSUAL) if name in chosen]


def ask(name: str, todo: list[str], cache: Path) -> Iterable[dict[str, Any]]:
    """Yield a peer's answers, one a loop.

    Raises:
        RuntimeError: it cannot be installed, or its process died; the message is the exact reason.
    """
    if not todo:
        return
    peer = PEERS.get(name, Peer(name=name, requirements=(), adapter="with_stepaudit", seconds_a_fault=0.1))
    python = python_of(peer, cache) if peer.requirements else Path(sys.executable)
    before = [str(cache / "traincheck-traces")] if name == "traincheck" else []
    for directory in before:
        Path(directory).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as complaints:
        command = [str(python), str(HERE / f"{peer.adapter}.py"), *before, *todo]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True, env=environment()) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("PEER "):
                    yield json.loads(line.removeprefix("PEER "))
        if process.returncode:
            complaints.seek(0)
            last = [line for line in complaints.read().splitlines() if line.strip()][-3:]
            raise RuntimeError(f"ended with {process.returncode}: {' | '.join(last)}")


def adapter_lines(name: str) -> int:
    """Count the lines that a user would write: those between the marks in the adapter, comments and blanks left out."""
    if name == "stepaudit":
        import inspect

        from stepaudit.harness.subjects.seeded import SeededLoop

        text = inspect.getsource(SeededLoop.train)
    else:
        text = (HERE / ("flat_script.py" if name == "traincheck" else f"{PEERS[name].adapter}.py")).read_text()
        marked = re.search(r"# ---- the adapter.*?\n(.*?)# ---- its end", text, re.DOTALL)
        text = marked.group(1) if marked else ""
    lines = (line.strip() for line in text.splitlines())
    return sum(bool(line) and not line.startswith(("#", '"""')) for line in lines)


def show(answers: dict[str, Answers], asked: list[str], broken: dict[str, str]) -> None:
    """Print the table, the summary and what a peer saw that stepaudit did not."""
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 150)
    names = list(answers)
    table = Table(show_edge=False)
    for column in ("loop", "family", *names):
        table.add_column(column)
    for item in asked:
        if not any(item in answers[name] for name in names):
            continue
        family = FAULTS[item].family.value if item in FAULTS else "correct but unusual"
        table.add_row(item, family, *(_cell(answers[name].get(item)) for name in names))
    console.print(table)

    console.print()
    summary = Table(show_edge=False)
    for column in ("", *names):
        summary.add_column(column)
    families = dict.fromkeys(fault.family.value for fault in FAULTS.values())
    for family in families:
        of = [item for item in FAULTS if FAULTS[item].family.value == family]
        summary.add_row(f"{family}: seen", *(_seen(answers[name], of) for name in names))
    summary.add_row("all faults: seen", *(_seen(answers[name], FAULTS) for name in names))
    summary.add_row("only where declared by hand", *(str(_count(answers[name], FAULTS, "sees, declared")) for name in names))
    summary.add_row("false alarms (correct loops)", *(_seen(answers[name], UNUSUAL) for name in names))
    summary.add_row("abstained / error", *(f"{_count(answers[name], asked, 'abstains')} / {_count(answers[name], asked, 'error')}" for name in names))
    summary.add_row("CPU s a loop", *(_mean(answers[name], asked) for name in names))
    summary.add_row("lines of adapter", *(str(adapter_lines(name)) for name in names))
    console.print(summary)
    for name in names:
        if name in OUT_OF_SIGHT:
            console.print(f"{name}: {OUT_OF_SIGHT[name]}")
        if ready := answers[name].get(""):
            console.print(f"{name}: {ready['text']}; made in {ready['seconds']:.0f} CPU s, once")
        if name in broken:
            console.print(f"X {name}: {broken[name]}")
        for item, answer in answers[name].items():
            if answer["outcome"] in {"error", "abstains"}:
                console.print(f"X {name}, {item}: {answer['outcome']}: {answer['text'][:300]}")
    ours = answers.get("stepaudit", {})
    for name in names:
        for item in FAULTS if name != "stepaudit" else ():
            theirs = answers[name].get(item, {}).get("outcome", "")
            if theirs.startswith("sees") and ours.get(item, {}).get("outcome") == "passes":
                console.print(f"X {name} sees {item} and stepaudit does not: {answers[name][item]['text'][:600]}")


def _cell(answer: dict[str, Any] | None) -> str:
    if answer is None:
        return "not given"
    place = f", cell {answer['checks']}" if answer["outcome"] == "sees" and "stepaudit run" in answer["text"] else ""
    return f"{answer['outcome']} {answer['seconds']:.1f} s{place}"


def _count(answers: Answers, items: Iterable[str], outcome: str) -> int:
    return sum(answers.get(item, {}).get("outcome") == outcome for item in items)


def _seen(answers: Answers, items: Iterable[str]) -> str:
    given = [item for item in items if item in answers]
    return f"{_count(answers, given, 'sees')} of {len(given)}" if given else "not given"


def _mean(answers: Answers, items: Iterable[str]) -> str:
    spent = [answers[item]["seconds"] for item in items if item in answers]
    return f"{sum(spent) / len(spent):.1f}" if spent else "-"


if __name__ == "__main__":
    sys.exit(main())
