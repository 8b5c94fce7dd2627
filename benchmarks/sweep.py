"""What a sweep costs: cells a second, what warm workers and the tracer win, what harness and probes take, and memory.

One run prints everything. All loops train the same scenarios: the reference over the default suite, repeated with
other seeds until there are enough cells. `fresh process` and `plain HF` are what one would write without this project:
`transformers.Trainer` on a tiny random Llama, in a process for every scenario, or one after the other in one process.

    python -P benchmarks/sweep.py [--cells N,N,...] [--fresh N] [--plain N] [--overhead N] [--jobs N]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from stepaudit.harness.ledger import CellRecord, Outcome
from stepaudit.harness.running.engine import run_sweep
from stepaudit.harness.running.events import CellFinished, SweepEvent, WorkerReady
from stepaudit.harness.running.packed import blank_record
from stepaudit.harness.running.plan import PlannedCell, SweepOptions
from stepaudit.harness.running.store import Store
from stepaudit.harness.subjects import Bench, resolve
from stepaudit.scenarios import DatasetKind, LossProtocol, ModelKind, Scenario, Tier
from stepaudit.scenarios.suites import load_suite

HERE = Path(__file__)
MIB = 2**20
WEIGHED_EVERY = 10
"""cells between two looks at the workers' memory"""
ROWS, BATCH, ACCUM, UPDATES = 32, 4, 2, 12
"""the run on which the overhead of the probes is measured"""


def main() -> int:
    """Print every figure with its target; exit 1 where one is missed."""
    given = _arguments()
    if given.child:
        return _child(given.child, json.loads(sys.stdin.read()))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    sizes = [int(text) for text in given.cells.split(",")]
    missed = []

    def tell(name: str, value: str, target: str = "", *, reached: bool = True) -> None:
        print(f"{name:<58} {value:>16}  {target}{'' if reached else '  MISSED'}", flush=True)
        if not reached:
            missed.append(name)

    with tempfile.TemporaryDirectory() as scratch:
        sweep = Sweep(given.jobs, Path(scratch) / "records.sqlite", sizes)
        sweep.run(max(sizes))
        bare = Sweep(given.jobs, Path(scratch) / "bare.sqlite", [], execute="sweep:bare")
        bare.run(max(sizes))
        rate = sweep.cells / sweep.seconds
        tell(f"cells a second, {given.jobs} workers, all included", f"{rate:.1f}")
        tell("cells a second from the first warm worker on", f"{sweep.cells / sweep.warm_seconds:.1f}")
        share = bare.trained / (sweep.warm_seconds * given.jobs)
        tell(
            "harness efficiency (bare train() / wall, warm)", f"{share:.2f}", ">= 0.80", reached=share >= 0.8
        )
        whole = bare.trained / (sweep.seconds * given.jobs)
        tell("harness efficiency with the start of the workers", f"{whole:.2f}")
        share = bare.trained_processor / sweep.processor
        tell("harness efficiency on the processor's clock, start included", f"{share:.2f}")
        tell("processor time of the runner, a cell", f"{sweep.runner / sweep.cells * 1e3:.2f} ms")
        for size in sizes:
            runner, workers = sweep.resident[size]
            tell(
                f"resident after {size:,} cells: runner, largest worker",
                f"{runner / MIB:.0f}, {workers / MIB:.0f} MiB",
            )
        runners, workers = zip(*sweep.resident.values(), strict=True)
        spread = max(max(figures) / min(figures) for figures in (runners, workers)) - 1
        tell("spread of resident memory", f"{spread:.1%}", "<= 10 %", reached=spread <= 0.1)
        tell("runner", f"{max(runners) / MIB:.0f} MiB", "< 500 MiB", reached=max(runners) < 500 * MIB)
        seconds = _load(Path(scratch) / "records.sqlite")
        tell(f"{sweep.cells:,} records into pandas", f"{seconds:.1f} s", "< 10 s", reached=seconds < 10)

    fresh = _fresh_rate(_scenarios(given.fresh), given.jobs)
    tell("cells a second, a process each (HF, tiny Llama)", f"{fresh:.3f}")
    tell("ratio", f"{rate / fresh:.0f} x", ">= 500 x", reached=rate / fresh >= 500)
    plain = _plain_rate(given.plain, given.jobs)
    tell("cells a second, plain in-process (HF, tiny Llama)", f"{plain:.2f}")
    tell("ratio", f"{rate / plain:.0f} x", ">= 20 x", reached=rate / plain >= 20)
    overhead = _ask("overhead", {"repeats": given.overhead})[0]
    tell(
        "probe overhead on a tiny Llama",
        f"{overhead['median']:.1%}",
        "<= 5 %",
        reached=overhead["median"] <= 0.05,
    )
    tell("  a micro-batch without and with probes", f"{overhead['without']:.2f}, {overhead['with']:.2f} ms")
    print("missed: " + ", ".join(missed) if missed else "every target reached")
    return 1 if missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--cells", default="500,2000,5000", help="cells after which memory is read; the last is the sweep"
    )
    parser.add_argument("--fresh", type=int, default=4, help="scenarios run in a process each")
    parser.add_argument("--plain", type=int, default=100, help="scenarios run by plain HF in one process")
    parser.add_argument("--overhead", type=int, default=15, help="turns of the probe measurement")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--child", choices=["plain", "overhead"], help=argparse.SUPPRESS)
    return parser.parse_args()


def _scenarios(most: int) -> list[Scenario]:
    """Return scenarios of the default suite that any model can be trained on, with new seeds when they run out.

    Left out: checkpoints (a Llama's are of another size than a tracer's), and passes over unsized data that are
    shorter than the accumulation, in which `Trainer` never comes to an end.
    """
    hf = resolve("hf")

    def suits(scenario: Scenario) -> bool:
        ends = (
            scenario.dataset is DatasetKind.SIZED
            or scenario.rows >= scenario.per_device_batch_size * scenario.grad_accum
        )
        return (
            scenario.tier is Tier.TRACE and not scenario.save_steps and ends and hf.supports(scenario) is None
        )

    suite = [scenario for scenario in load_suite("default").scenarios if suits(scenario)]
    chosen: list[Scenario] = []
    for seed in count():
        for scenario in suite:
            if len(chosen) == most:
                return chosen
            chosen.append(replace(scenario, seed=seed))
    return chosen


class Sweep:
    """One sweep of the reference, timed and weighed while it runs.

    Attributes:
        seconds: wall time of all of it. warm_seconds: from the first warm worker to the end.
        trained: seconds inside the cells, summed; `trained_processor` on the processor's clock, for bare cells.
        processor: processor seconds of runner and workers, imports included; `runner` those of the runner alone.
        resident: cells to resident bytes of the runner and of the largest worker.
    """

    def __init__(self, jobs: int, path: Path, sizes: Sequence[int], execute: str = "") -> None:
        options = SweepOptions()
        self._options = replace(options, workers=jobs, fresh_fraction=0.0, execute=execute or options.execute)
        self._path = path
        self._sizes = set(sizes)
        self._began = self._warm = 0.0
        self._bare = bool(execute)
        self._largest = 0
        self.cells = 0
        self.seconds = self.warm_seconds = self.trained = 0.0
        self.processor = self.runner = self.trained_processor = 0.0
        self.resident: dict[int, tuple[int, int]] = {}

    def run(self, cells: int) -> None:
        """Run so many cells."""
        hf = resolve("hf")
        plan = [PlannedCell(scenario=scenario, subject=hf) for scenario in _scenarios(cells)]
        before = os.times()
        with Store(self._path) as store:
            self._began = time.perf_counter()
            run_sweep(plan, store, self._options, self._handle)
        ended = time.perf_counter()
        self.seconds, self.warm_seconds = ended - self._began, ended - self._warm
        after = os.times()
        self.runner = after.user + after.system - before.user - before.system
        children = after.children_user + after.children_system - before.children_user - before.children_system
        self.processor = self.runner + children

    def _handle(self, event: SweepEvent) -> None:
        if isinstance(event, WorkerReady) and not self._warm:
            self._warm = time.perf_counter()
        if isinstance(event, CellFinished):
            if event.outcome is not Outcome.COMPLETED:
                raise SystemExit(f"{event.scenario.label}: {event.packed.error_message}")
            self.cells += 1
            self.trained += event.packed.seconds
            if self._bare:
                self.trained_processor += float(event.packed.record().output)
            if self.cells % WEIGHED_EVERY == 0:
                workers = [child.memory_info().rss for child in psutil.Process().children()]
                self._largest = max(workers, default=self._largest)  # at the very end they are gone already
            if self.cells in self._sizes:
                self.resident[self.cells] = (psutil.Process().memory_info().rss, self._largest)


def bare(request: Any, scratch: Path) -> CellRecord:
    """Run a cell as a worker would, without probes, ledger and oracle; `seconds` is `train()` alone."""
    from stepaudit.harness.running.sitting import Sitting

    sitting = Sitting.begin(request.scenario, request.contract, request.options)
    bench = _bench(sitting, scratch)
    began, began_processor = time.perf_counter(), time.process_time()
    resolve(request.subject).train(bench)
    seconds, processor = time.perf_counter() - began, time.process_time() - began_processor
    return replace(blank_record(request), output=repr(processor), seconds=seconds)


def _bench(sitting: Any, scratch: Path) -> Bench:
    return Bench(
        scenario=sitting.scenario,
        model=sitting.model,
        train_dataset=sitting.workload.train_dataset,
        eval_dataset=sitting.workload.eval_dataset,
        output_dir=scratch,
        claims=sitting.in_progress,
    )


def _load(path: Path) -> float:
    """Return the seconds in which the records become a frame: read, judged, tabulated."""
    from datetime import UTC, datetime

    from stepaudit.harness.judging.run import RunFacts, judge_run
    from stepaudit.reports.tables import cells_frame

    facts: dict[str, Any] = dict.fromkeys(("command", "suite", "started", "device"), "")
    facts |= {"seconds": 0.0, "executed": 0, "from_store": 0, "repeated": 0, "interrupted": False}
    began = time.perf_counter()
    with Store(path, read_only=True) as store:
        verdict = judge_run(
            store.records(), (), RunFacts(**facts), reference=iter(()), today=datetime.now(UTC).date()
        )
    frame = cells_frame(verdict)
    seconds = time.perf_counter() - began
    if not len(frame):
        raise SystemExit("no records were loaded")
    return seconds


def _fresh_rate(scenarios: Sequence[Scenario], jobs: int) -> float:
    """Return scenarios a second when each gets a process of its own, `jobs` at a time."""
    began = time.perf_counter()
    for at in range(0, len(scenarios), jobs):
        block = scenarios[at : at + jobs]
        for child in [_start("plain", {"scenarios": [item.to_mapping()]}) for item in block]:
            _finish(child)
    return len(scenarios) / (time.perf_counter() - began)


def _plain_rate(most: int, jobs: int) -> float:
    """Return scenarios a second of plain loops in `jobs` processes, imports left out."""
    tables = [scenario.to_mapping() for scenario in _scenarios(most)]
    answers = _ask("plain", *({"scenarios": tables[part::jobs]} for part in range(jobs)))
    return most / max(answer["seconds"] for answer in answers)


def _ask(what: str, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """Start a child for every request at once and return their answers."""
    return [_finish(child) for child in [_start(what, request) for request in requests]]


def _start(what: str, request: dict[str, Any]) -> subprocess.Popen[str]:
    variables = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    child = subprocess.Popen(
        [sys.executable, "-P", str(HERE), "--child", what],
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdin is not None
    child.stdin.write(json.dumps(request))
    child.stdin.close()
    return child


def _finish(child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    lines = child.stdout.read().splitlines()
    if child.wait():
        raise SystemExit(f"a child ended with {child.returncode}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def _child(what: str, request: dict[str, Any]) -> int:
    answer = _plain(request["scenarios"]) if what == "plain" else _overhead(request["repeats"])
    print(json.dumps(answer))
    return 0


def _plain(tables: list[dict[str, Any]]) -> dict[str, Any]:
    """Train the scenarios one after the other: `Trainer` on a tiny Llama, nothing frozen, nothing watched."""
    import transformers.trainer  # noqa: F401  imports are not what is timed

    trained = []
    for table in tables:
        scenario = _on_llama(Scenario(**table))
        trained.append(_turn(scenario, watched=False))
    return {"seconds": sum(trained)}


def _on_llama(scenario: Scenario) -> Scenario:
    protocol = scenario.loss_protocol
    if protocol is LossProtocol.OVERRIDDEN:  # reads the tracer's own outputs
        protocol = LossProtocol.HONOURED
    return replace(scenario, model=ModelKind.TINY_LLAMA, tier=Tier.NUMERIC, loss_protocol=protocol)


def _turn(scenario: Scenario, *, watched: bool) -> float:
    """Return the seconds that the reference needs to construct its Trainer and to train, with or without the probes."""
    from stepaudit.harness.probes import watch
    from stepaudit.harness.running.sitting import Sitting
    from stepaudit.harness.workloads.workload import Weighing

    sitting: Any = Sitting.begin(scenario, "hf-5", {})
    # Weighing rows by projection is no probe but a computation of its own, which can be had for a sample of updates.
    sitting.workload.weigh = lambda *_: Weighing(weights=None, residual=None)
    with tempfile.TemporaryDirectory() as scratch:
        bench = _bench(sitting, Path(scratch))
        began = time.perf_counter()
        if watched:
            with watch(sitting.recorder, sitting.model, sitting.workload.train_dataset, sitting.workload):
                resolve("hf").train(bench)
        else:
            resolve("hf").train(bench)
        return time.perf_counter() - began


def _overhead(repeats: int) -> dict[str, float]:
    """Return the median overhead of the probes, the two in turns, and milliseconds a micro-batch."""
    import gc

    scenario = Scenario(
        rows=ROWS,
        per_device_batch_size=BATCH,
        grad_accum=ACCUM,
        max_steps=UPDATES,
        dataset=DatasetKind.SIZED,
        model=ModelKind.TINY_LLAMA,
        tier=Tier.NUMERIC,
    )
    for watched in (False, True):
        _turn(scenario, watched=watched)
    gc.collect()
    gc.freeze()
    pairs = [(_turn(scenario, watched=False), _turn(scenario, watched=True)) for _ in range(repeats)]
    return {
        "median": statistics.median(after / before - 1 for before, after in pairs),
        "without": statistics.median(before for before, _ in pairs) / (UPDATES * ACCUM) * 1e3,
        "with": statistics.median(after for _, after in pairs) / (UPDATES * ACCUM) * 1e3,
    }


if __name__ == "__main__":
    sys.exit(main())
