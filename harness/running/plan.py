"""What a sweep is to run, and how: planned cells, options, and the requests that come of them."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...scenarios import Tier
from ..ledger import CellError, CellRecord, Outcome
from .environment import default_cache, installed_versions
from .packed import blank_record, error_record
from .request import CellRequest, Option, cell_id
from .resolution import completed
from .shard import Shard

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...scenarios import Scenario
    from ..subjects import Subject

__all__ = ["Order", "PlannedCell", "SweepOptions", "default_memory_limit", "order_cells", "refusal"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedCell:
    """One cell of a plan."""

    scenario: Scenario
    subject: Subject


def default_memory_limit() -> int:
    """Return 4 GiB, or 40 % of the memory of the machine or container where that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # "max", or no such file outside a container
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return min(4 * 2**30, total * 4 // 10)


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepOptions:
    """How a sweep is run.

    Attributes:
        workers: worker processes at once.
        timeout_s: wall time of one cell.
        start_timeout_s: wall time of a worker's imports.
        memory_limit: bytes that a cell may take beyond the warm worker; 0 for no limit.
        growth_limit: bytes that a worker may have grown between cells before it is replaced.
        fresh_fraction: share of the cells that also run in a process of their own, picked by their hash.
        shard: the part of the plan that is this run's.
        device: the accelerator's name, on which the gpu tier runs; the others run on the CPU.
        cache_dir: where environments are kept.
        execute: `module:function` that runs one cell in a worker.
        options: options of the tier, handed to `execute`.
    """

    workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    timeout_s: float = 120.0
    start_timeout_s: float = 180.0
    memory_limit: int = field(default_factory=default_memory_limit)
    growth_limit: int = 512 * 2**20
    fresh_fraction: float = 0.02
    shard: Shard = field(default_factory=Shard)
    device: str = "cpu"
    cache_dir: Path = field(default_factory=default_cache)
    execute: str = "stepaudit.harness.running.cell:execute"
    options: dict[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("workers", "timeout_s", "start_timeout_s", "growth_limit"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.memory_limit < 0:
            raise ValueError(f"memory_limit must not be negative, not {self.memory_limit}")
        if not 0 <= self.fresh_fraction <= 1:
            raise ValueError(f"fresh_fraction must be between 0 and 1, not {self.fresh_fraction}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """The cells that this run has to see to, by their ids, without doubles.

    Attributes:
        elsewhere: cells of the plan that belong to other shards.
    """

    requests: dict[str, CellRequest]
    subjects: dict[str, Subject]
    elsewhere: int


def order_cells(plan: Iterable[PlannedCell], options: SweepOptions) -> Order:
    """Return the requests of the plan that the shard owns, each under its content-addressed id."""
    requests: dict[str, CellRequest] = {}
    subjects: dict[str, Subject] = {}
    others: set[str] = set()
    versions: dict[str, dict[str, str]] = {}
    complete: dict[str, Subject] = {}
    for cell in plan:
        if cell.subject.name not in complete:
            complete[cell.subject.name] = completed(cell.subject, options.cache_dir)
        subject = complete[cell.subject.name]
        if subject.name not in versions:
            found = installed_versions(subject.packages, subject.environment)
            source = {"source": subject.fingerprint} if subject.fingerprint else {}
            versions[subject.name] = found | source
        device = options.device if cell.scenario.tier is Tier.GPU else "cpu"
        identity = cell_id(
            scenario=cell.scenario, subject=subject.name, versions=versions[subject.name], device=device
        )
        if not options.shard.owns(identity):
            others.add(identity)
            continue
        subjects[identity] = subject
        requests[identity] = CellRequest(
            cell_id=identity,
            scenario=cell.scenario,
            subject=subject.name,
            contract=subject.contract,
            versions=versions[subject.name],
            device=device,
            timeout_s=options.timeout_s,
            options=options.options,
        )
    return Order(requests=requests, subjects=subjects, elsewhere=len(others))


def refusal(request: CellRequest, subject: Subject) -> CellRecord | None:
    """Return the record of a cell that its subject declines or fails to decide on; None if it can run."""
    try:
        reason = subject.supports(request.scenario)
    except Exception as error:  # noqa: BLE001 - a plug-in's question is the plug-in's error
        message = f"supports() raised {type(error).__name__}: {error}"
        return error_record(request, CellError(kind="exception", message=message))
    if reason is None:
        return None
    return replace(blank_record(request, Outcome.UNSUPPORTED), reason=reason)
