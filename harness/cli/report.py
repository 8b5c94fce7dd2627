"""`stepaudit report`: render the reports of a run again from `verdict.json` and the records."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from ...scenarios.known import load_known
from ..contract import RULES
from .check import open_records
from .extras import extras_of
from .manifest import verdict_in

__all__ = ["report"]


def report(directory: Path = Path("stepaudit-out"), /, *, verbose: bool = False) -> int:
    """Render the reports of a run again; the verdict stays as it is.

    Parameters
    ----------
    directory
        The output directory of a run.
    verbose
        Show every cluster and traceback.
    """
    from ...reports.terminal import print_summary
    from ...reports.write import write_reports

    verdict = verdict_in(directory)
    with open_records(directory) as store:
        write_reports(verdict, store.get, directory, extras=extras_of(verdict, load_known(rules=RULES)))
    print_summary(verdict, console=Console(), out_dir=directory, verbose=verbose)
    return 0
