"""`stepaudit check` and `stepaudit report`: judge records again, render a verdict again. Neither trains anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from ..running.store import Store
from .baseline_files import NEAREST_GATE, baseline_of, gate_of, known_then
from .conclude import conclude
from .manifest import MANIFEST, RECORDS, ManifestError, read_manifest
from .options import GateFile

__all__ = ["check", "open_records"]


def check(
    directory: Annotated[Path, Parameter(negative="")] = Path("stepaudit-out"),
    /,
    *,
    known: Path | None = None,
    base_ref: str | None = None,
    gate: GateFile = NEAREST_GATE,
    verbose: bool = False,
) -> int:
    """Judge the records of a run again, with the contract of today and what was known when the run started.

    A deviation that was accepted since then counts for the next run: `stepaudit run` judges what it has stored again.

    Parameters
    ----------
    directory
        The output directory of a run.
    known
        A file of known deviations: of these, those that were known when the run started.
    base_ref
        Of these, those at the merge base with this branch, tag or commit.
    gate
        A file with [tool.stepaudit.gate] instead of the nearest pyproject.toml that has one; or no gate.
    verbose
        Show every cluster and traceback.
    """
    terms = gate_of(gate)
    asked = None if known is None and base_ref is None else baseline_of(known, terms, base_ref=base_ref)
    with open_records(directory) as store:
        baseline = known_then(asked, read_manifest(directory).known)
        return conclude(directory, store, baseline, terms, console=Console(), verbose=verbose).exit_code


def open_records(directory: Path) -> Store:
    """Open the records of a run for reading.

    Raises:
        ManifestError: the directory holds no run.
    """
    path = directory / RECORDS
    if not path.is_file():
        raise ManifestError(f"{directory} holds no run: there is no {RECORDS} (and no {MANIFEST})")
    return Store(path, read_only=True)
