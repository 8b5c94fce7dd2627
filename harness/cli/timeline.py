"""`stepaudit timeline`: what a package's releases really did, one row a release, judged by one contract."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from ...scenarios import Scenario, ScenarioError, nearest
from ..contract import Contract, contract_named
from ..judging.timeline import Pair, Timeline, TimelineRow, timeline_cell
from ..judging.verdict import CellOutcome, ExitCode
from ..ledger import CellRecord
from ..running.engine import run_sweep
from ..running.environment import default_cache
from ..running.events import CellFinished, CellReused, SweepEvent
from ..running.plan import PlannedCell, SweepOptions
from ..running.resolution import completed
from ..running.store import Store
from ..subjects import Subject, resolve
from ..subjects.environment import normal_name
from ..subjects.laid_over import with_pins
from .manifest import RECORDS
from .numbers import Count, at_least, seconds_of
from .options import Many
from .plan import choose_scenarios

__all__ = ["timeline"]

SUITE = "timeline"
SUBJECTS: dict[str, Callable[[str], str]] = {
    "transformers": lambda version: f"hf[transformers=={version}]",
    "accelerate": lambda version: f"accelerate[accelerate=={version}]",
    "trl": lambda version: f"trl-sft[trl=={version}]",
    "lightning": lambda version: f"lightning[lightning=={version}]",
    "unsloth-zoo": lambda version: f"unsloth-zoo@{version}",
}
"""package to the subject that a release of it is"""


def timeline(
    package: str,
    /,
    *,
    versions: str,
    with_: Annotated[Many, Parameter(name="--with")] = None,
    suite: str = SUITE,
    tier: str | None = None,
    contract: str = "hf-5",
    out: Path = Path("stepaudit-timeline"),
    page: Path | None = None,
    jobs: Count = None,
    timeout: float = 120.0,
) -> int:
    """Audit releases of a package: one row a release, one column a scenario, all judged by one contract.

    The same command again runs only what is missing. Exit code 3: some cell could not be judged.

    Parameters
    ----------
    package
        transformers, accelerate, trl, lightning or unsloth_zoo.
    versions
        Releases, separated by commas: 4.26.1,4.28.1,5.23.0.
    with_
        PACKAGE==VERSION, may be repeated: every release once more, with this one instead of the companion of its time.
    suite
        The scenarios: a committed suite or a TOML file.
    tier
        trace, numeric or gpu, instead of the suite's; trl needs numeric.
    contract
        What all releases are judged by.
    out
        Directory of records, timeline.json, timeline.csv, timeline.md and figures.
    page
        Write timeline.md here too, with its figure beside it.
    jobs
        Worker processes; one a core.
    timeout
        Seconds that one cell may take.
    """
    name = normal_name(package)
    if name not in SUBJECTS:
        raise ScenarioError(f"no timeline of {package!r}{nearest(name, SUBJECTS)}")
    judge = contract_named(contract)
    scenarios = choose_scenarios(suite, tier=tier).scenarios
    releases = _releases(versions)
    subjects = _subjects(name, releases, with_ or ())
    options = replace(SweepOptions(), timeout_s=seconds_of(timeout), fresh_fraction=0.0)
    if jobs is not None:
        options = replace(options, workers=at_least("--jobs", jobs, 1))

    from ...reports.progress import SweepProgress
    from ...reports.timeline import print_timeline, write_timeline

    out.mkdir(parents=True, exist_ok=True)
    progress = SweepProgress(Console(stderr=True, soft_wrap=True))
    ids: dict[tuple[str, Scenario], str] = {}

    def handle(event: SweepEvent) -> None:
        if isinstance(event, CellFinished | CellReused):
            ids[event.subject, event.scenario] = event.cell_id
        progress.handle(event)

    plan = [
        PlannedCell(scenario=scenario, subject=subject)
        for _, _, subject in subjects
        for scenario in scenarios
    ]
    with Store(out / RECORDS) as store:
        progress.start()
        interrupted = True
        try:
            with suppress(KeyboardInterrupt):
                run_sweep(plan, store, options, handle)
                interrupted = False
        finally:
            progress.shutdown()
        records = {place: record for place, cell_id in ids.items() if (record := store.get(cell_id))}
    rows = [_row(release, pair, subject, scenarios, records, judge) for release, pair, subject in subjects]
    history = _history(name, judge, rows)
    write_timeline(history, out, page)
    print_timeline(history, Console(), out)
    if interrupted:
        return ExitCode.INTERRUPTED
    not_judged = any(cell.outcome is CellOutcome.ERROR for row in rows for cell in row.cells)
    return ExitCode.NOT_JUDGED if not_judged else ExitCode.PASSED


def _releases(text: str) -> list[str]:
    releases = [item.strip() for item in text.split(",") if item.strip()]
    if not releases:
        raise ScenarioError(f"--versions names no release: {text!r}")
    for release in releases:
        if releases.count(release) > 1:
            raise ScenarioError(f"--versions names {release} twice")
    return releases


def _subjects(package: str, releases: list[str], others: Iterable[str]) -> list[tuple[str, Pair, Subject]]:
    """Return release, pair and subject of every row."""
    others = list(others)
    rows: list[tuple[str, Pair, str]] = [
        (release, "of its time", SUBJECTS[package](release)) for release in releases
    ]
    if others:
        rows += [
            (release, "asked for", with_pins(SUBJECTS[package](release), others)) for release in releases
        ]
    return [(release, pair, completed(resolve(name), default_cache())) for release, pair, name in rows]


def _row(
    release: str,
    pair: Pair,
    subject: Subject,
    scenarios: Iterable[Scenario],
    records: dict[tuple[str, Scenario], CellRecord],
    contract: Contract,
) -> TimelineRow:
    own = [record for scenario in scenarios if (record := records.get((subject.name, scenario)))]
    return TimelineRow(
        release=release,
        subject=subject.name,
        pair=pair,
        packages=dict(own[0].versions) if own else {},
        cells=[timeline_cell(record, contract) for record in own],
    )


def _history(package: str, contract: Contract, rows: list[TimelineRow]) -> Timeline:
    """Put the rows together; what all of them ran with is told once."""
    packages = [row.packages for row in rows]
    shared = {
        name: version
        for name, version in (packages[0] if packages else {}).items()
        if name != package and all(item.get(name) == version for item in packages)
    }
    return Timeline(
        package=package,
        contract=contract.name,
        contract_title=contract.title,
        command=shlex.join(["stepaudit", *sys.argv[1:]]),
        packages=shared,
        rows=rows,
    )
