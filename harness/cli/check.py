"""`stepaudit check` and `stepaudit report`: judge records again, render a verdict again. Neither trains anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from ..running.store import Store
from .conclude import conclude, known_deviations
from .manifest import MANIFEST, RECORDS, ManifestError

__all__ = ["check", "open_records"]


def check(
    directory: Annotated[Path, Parameter(negative="")] = Path("stepaudit-out"),
    /,
    *,
    known: Path | None = None,
    verbose: bool = False,
) -> int:
    """Judge the records of a run again, with the contract and the known deviations of today.

    Parameters
    ----------
    directory
        The output directory of a run.
    known
        A file of known deviations instead of the built-in one.
    verbose
        Show every cluster and traceback.
    """
    entries = known_deviations(known)
    with open_records(directory) as store:
        return conclude(directory, store, entries, console=Console(), verbose=verbose)


def open_records(directory: Path) -> Store:
    """Open the records of a run for reading.

    Raises:
        ManifestError: the directory holds no run.
    """
    path = directory / RECORDS
    if not path.is_file():
        raise ManifestError(f"{directory} holds no run: there is no {RECORDS} (and no {MANIFEST})")
    return Store(path, read_only=True)
