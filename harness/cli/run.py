"""`stepaudit run`: the main job. Sweeps, judges, writes every report, and exits with the gate's code."""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from ...scenarios import ScenarioError, Tier
from ..contract import rule_named
from ..judging.verdict import ExitCode
from ..running.engine import run_sweep
from ..running.events import CellFinished, CellReused, SweepEvent, SweepFinished
from ..running.plan import SweepOptions
from ..running.shard import Shard
from ..running.store import Store
from .baseline_files import NEAREST_GATE, Baseline, baseline_of, gate_of
from .conclude import conclude
from .manifest import RECORDS, Manifest, write_manifest
from .numbers import Count, at_least, seconds_of
from .options import GateFile, Many
from .plan import SweepPlan, plan_sweep

__all__ = ["run"]

MOST_MEMORY = 2**20
"""GiB; more than any machine has, and a limit that the kernel still takes"""


def run(
    *,
    suite: str | None = None,
    subject: Many = None,
    axis: Many = None,
    with_: Annotated[Many, Parameter(name="--with")] = None,
    tier: str | None = None,
    select: str | None = None,
    rule: Many = None,
    contract: str | None = None,
    known: Path | None = None,
    base_ref: str | None = None,
    gate: GateFile = NEAREST_GATE,
    out: Path = Path("stepaudit-out"),
    jobs: Count = None,
    timeout: float = 120.0,
    memory: float | None = None,
    fresh_fraction: float = 0.02,
    shard: str | None = None,
    reference: bool = True,
    history: bool = True,
    verbose: bool = False,
) -> int:
    """Run a sweep of scenarios over subjects, judge every cell and write the reports.

    The same command again runs only what is missing.

    Parameters
    ----------
    suite
        A committed suite (default, smoke, founding, boundary), the museum, or a TOML file. With --axis and without
        --suite: the default scenario alone.
    subject
        A trainer under audit, may be repeated: hf, plain, accelerate, unsloth-zoo@VERSION, my_trainer.py:train,
        package.module:train.
    axis
        NAME=V,V,... may be repeated; every scenario of the suite over all these values.
    with_
        PACKAGE==VERSION, may be repeated: a release that is laid over the installed one for the subjects that use the
        package, with what it needs (transformers==4.45.2). Installed once by pip, then cached.
    tier
        trace, numeric or gpu.
    select
        Only the scenarios that match, e.g. "accum:>1 rows:..64".
    rule
        Judge by these rules only, may be repeated.
    contract
        Judge every subject by this contract instead of its own.
    known
        A file of known deviations instead of the built-in one and the project's.
    base_ref
        Read the project's known deviations at the merge base with this branch, tag or commit, not from the
        working tree.
    gate
        A file with [tool.stepaudit.gate] instead of the nearest pyproject.toml that has one; or no gate.
    out
        Directory of records and reports.
    jobs
        Worker processes; one a core.
    timeout
        Seconds that one cell may take.
    memory
        GiB that one cell may take.
    fresh_fraction
        Share of the cells that also run in a fresh process and must give the same ledger.
    shard
        i/n: run the i-th of n parts.
    reference
        Run the reference (hf) beside the subjects, to compare with.
    history
        Add the run to the local history, which `stepaudit history` reads.
    verbose
        Show every cluster and traceback.
    """
    plan = plan_sweep(
        suite=suite,
        subjects=subject or (),
        axes=axis or (),
        select=select,
        tier=tier,
        contract=contract,
        with_reference=reference,
        releases=with_ or (),
    )
    rules = [rule_named(name).rule_id for name in rule] if rule else None
    options = _options(jobs=jobs, timeout=timeout, memory=memory, fresh_fraction=fresh_fraction, shard=shard)
    terms = gate_of(gate)
    baseline = baseline_of(known, terms, base_ref=base_ref)
    progress_console = Console(stderr=True, soft_wrap=True)
    if any(item.tier is Tier.GPU for item in plan.suite.scenarios):
        if (accelerator := _accelerator()) is None:
            progress_console.print(
                "stepaudit: tier gpu needs a CUDA device, and there is none: nothing was run"
            )
            return ExitCode.NOT_JUDGED
        # One worker unless more are asked for: cells that share a device also share its memory.
        options = replace(options, device=accelerator, workers=jobs or 1)
    if verbose:
        for note in plan.suite.notes:
            progress_console.print(note, markup=False, highlight=False)

    from ...reports.progress import SweepProgress

    out.mkdir(parents=True, exist_ok=True)
    collected = _Collected()
    progress = SweepProgress(progress_console)
    began = datetime.now(UTC)
    with Store(out / RECORDS) as store:
        progress.start()

        def handle(event: SweepEvent) -> None:
            collected.handle(event)
            progress.handle(event)

        try:
            with suppress(KeyboardInterrupt):
                run_sweep(plan.cells(), store, options, handle)
        finally:
            progress.shutdown()
        manifest = _manifest(plan, collected, began, rules, baseline, options.device)
        is_file = suite is not None and suite.endswith(".toml")
        write_manifest(out, manifest.model_copy(update={"suite_file": suite if is_file else None}))
        verdict = conclude(out, store, baseline, terms, console=Console(), verbose=verbose)
    if history:
        from .history import remember

        remember(verdict, progress_console)
    return verdict.exit_code


def _accelerator() -> str | None:
    """Return the name of the CUDA device, or None where there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


class _Collected:
    """What the sweep's events say that the manifest needs."""

    def __init__(self) -> None:
        self.ids: dict[tuple[str, str], str] = {}
        self.finished: SweepFinished | None = None

    def handle(self, event: SweepEvent) -> None:
        match event:
            case CellFinished() | CellReused():
                self.ids[event.subject, event.scenario.label] = event.cell_id
            case SweepFinished():
                self.finished = event
            case _:
                pass


def _manifest(
    plan: SweepPlan,
    collected: _Collected,
    began: datetime,
    rules: list[str] | None,
    baseline: Baseline,
    device: str,
) -> Manifest:
    finished = collected.finished
    coverage = plan.suite.coverage()
    judged = {subject.name for subject in plan.subjects}
    ids = [
        (cell.subject.name, identity)
        for cell in plan.cells()
        if (identity := collected.ids.get((cell.subject.name, cell.scenario.label)))
    ]
    return Manifest(
        command=shlex.join(["stepaudit", *sys.argv[1:]]),
        suite=plan.suite.name,
        started=began.isoformat(timespec="seconds"),
        seconds=finished.seconds if finished else 0.0,
        device=device,
        contract=plan.contract,
        rules=rules,
        executed=finished.completed + finished.errors if finished else 0,
        from_store=finished.reused if finished else 0,
        repeated=finished.repeated if finished else 0,
        interrupted=finished is None or finished.interrupted,
        pairs=[coverage.covered, coverage.valid] if coverage else None,
        cells=list(dict.fromkeys(identity for name, identity in ids if name in judged)),
        reference_cells=list(dict.fromkeys(identity for name, identity in ids if name not in judged)),
        known=list(baseline.texts),
        museum=plan.museum.text if plan.museum else None,
    )


def _options(
    *, jobs: int | None, timeout: float, memory: float | None, fresh_fraction: float, shard: str | None
) -> SweepOptions:
    if not 0 <= fresh_fraction <= 1:
        raise ScenarioError(f"--fresh-fraction must be between 0 and 1, not {fresh_fraction:g}")
    options = replace(SweepOptions(), timeout_s=seconds_of(timeout), fresh_fraction=fresh_fraction)
    if jobs is not None:
        options = replace(options, workers=at_least("--jobs", jobs, 1))
    if memory is not None:
        if not 0 < memory < MOST_MEMORY:
            raise ScenarioError(f"--memory must be GiB above 0 and below {MOST_MEMORY}, not {memory:g}")
        options = replace(options, memory_limit=int(memory * 2**30))
    if shard is not None:
        try:
            options = replace(options, shard=Shard.parse(shard))
        except ValueError as error:
            raise ScenarioError(str(error)) from None
    return options
