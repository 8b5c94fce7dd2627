"""`stepaudit explain`: why a trainer is wrong: formula, interaction, smallest scenario, first divergence."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from ...scenarios import ScenarioError, nearest
from ...scenarios.formula import parse_formula
from ..contract import contract_named, rule_named
from ..diagnosis import (
    Explained,
    Rounds,
    cell_of,
    explain_subject,
    explained_lines,
    figure_named,
)
from ..judging.verdict import ExitCode
from ..ledger import CellRecord, Outcome
from ..running.plan import SweepOptions
from ..running.store import Store
from ..subjects import resolve
from .check import open_records
from .manifest import RECORDS, Manifest, read_manifest
from .numbers import Whole, at_least, seconds_of
from .options import Many
from .warm_cells import WarmCells

__all__ = ["SCRATCH", "explain"]

SCRATCH = "diagnosis"
"""folder beside a run's records where those of the cells that a diagnosis ran are kept"""


def explain(
    directory: Annotated[Path, Parameter(negative="")] = Path("stepaudit-out"),
    /,
    *,
    subject: Many = None,
    figure: Many = None,
    hypothesis: Many = None,
    rule: Many = None,
    run: bool = True,
    shrink: bool = True,
    held_out: Whole = 200,
    seed: Whole = 20241015,
    jobs: Whole = 2,
    timeout: float = 60.0,
) -> int:
    """Explain the deviations of a run: formula, interaction, smallest scenario, first divergence.

    Parameters
    ----------
    directory
        The output directory of a run.
    subject
        Explain this subject only, may be repeated; all subjects of the run otherwise.
    figure
        Infer this figure, whether it deviates or not: optimizer_steps, micro_batches, planned_bar, ...
    hypothesis
        A formula that is proposed for the figure, e.g. "max_steps * epochs"; is held against every cell.
    rule
        Explain the cells that break this rule only.
    run
        Run further cells: to tell formulas apart, to reduce scenarios, to hold the formula against fresh ones.
    shrink
        Reduce the smallest failing scenario of every cluster.
    held_out
        Fresh random scenarios that a formula is held against.
    seed
        Seed of what is drawn.
    jobs
        Worker processes.
    timeout
        Seconds that one cell may take.
    """
    options = replace(
        SweepOptions(), workers=at_least("--jobs", jobs, 1), timeout_s=seconds_of(timeout), fresh_fraction=0.0
    )
    rounds = Rounds(held_out=at_least("--held-out", held_out, 0), seed=seed)
    manifest = read_manifest(directory)
    figures = [figure_named(name) for name in figure or ()]
    rules = frozenset(rule_named(name).rule_id for name in rule) if rule else None
    for text in hypothesis or ():
        parse_formula(text)
    with open_records(directory) as store:
        records = _records(store, manifest)
    names = _chosen(list(records), subject)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    judged = 0
    for name in names:
        explained, seconds, ran = _explained(
            name,
            records[name],
            manifest,
            directory / SCRATCH if run else None,
            options,
            rules=rules if rules is not None else _rules(manifest),
            figures=figures,
            hypotheses=hypothesis or (),
            rounds=rounds,
            shrinks=shrink,
        )
        judged += explained.cells
        for line in explained_lines(explained):
            console.print(line.removeprefix("# "), style="bold" if line.startswith("# ") else "")
        if ran:
            console.print(
                f"({ran} cells were run for this in {seconds[1]:.0f} s; analysis {seconds[0]:.1f} s)"
            )
        console.print()
    return ExitCode.PASSED if judged else ExitCode.NOTHING


def _explained(
    name: str,
    records: Sequence[CellRecord],
    manifest: Manifest,
    scratch: Path | None,
    options: SweepOptions,
    **how: object,
) -> tuple[Explained, tuple[float, float], int]:
    """Explain one subject; also the seconds of analysis and of running, and the number of cells that were run."""
    subject = resolve(name)
    contract = contract_named(manifest.contract or subject.contract)
    cells = [cell for record in records if (cell := cell_of(record, contract)) is not None]
    began = time.monotonic()
    with ExitStack() as stack:
        warm = None
        if scratch is not None and cells:
            scratch.mkdir(parents=True, exist_ok=True)
            warm = stack.enter_context(
                WarmCells(subject, stack.enter_context(Store(scratch / RECORDS)), options)
            )
        explained = explain_subject(
            name,
            cells,
            contract=contract,
            supports=warm.supports if warm else subject.supports,
            run=warm.run if warm else None,
            not_run=sum(record.outcome is Outcome.ERROR for record in records),
            **how,  # type: ignore[arg-type]  # the options of this command, by the names of explain_subject
        )
        running = warm.seconds if warm else 0.0
        return explained, (time.monotonic() - began - running, running), warm.executed if warm else 0


def _records(store: Store, manifest: Manifest) -> dict[str, list[CellRecord]]:
    """Return the records of the run, by subject, in the order of the run."""
    records: dict[str, list[CellRecord]] = {}
    for cell_id in manifest.cells:
        record = store.get(cell_id)
        if record is not None:
            records.setdefault(record.subject, []).append(record)
    return records


def _chosen(names: list[str], wanted: Sequence[str] | None) -> list[str]:
    for name in wanted or ():
        if name not in names:
            raise ScenarioError(f"the run has no subject {name!r}{nearest(name, names)}")
    return list(dict.fromkeys(wanted)) if wanted else names


def _rules(manifest: Manifest) -> frozenset[str] | None:
    return None if manifest.rules is None else frozenset(manifest.rules)
