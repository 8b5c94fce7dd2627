"""`stepaudit report`: render the reports of a run again from `verdict.json` and the records."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from .check import open_records
from .extras import extras_of
from .manifest import ManifestError

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
    from ...reports.json_file import read_verdict
    from ...reports.terminal import print_summary
    from ...reports.write import write_reports

    try:
        verdict = read_verdict(directory / "verdict.json")
    except FileNotFoundError:
        raise ManifestError(f"{directory} holds no verdict: there is no verdict.json") from None
    except ValueError as error:
        raise ManifestError(str(error)) from None
    with open_records(directory) as store:
        write_reports(verdict, store.get, directory, extras=extras_of(verdict))
    print_summary(verdict, console=Console(), out_dir=directory, verbose=verbose)
    return 0
