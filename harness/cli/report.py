"""`stepaudit report`: render the reports of a run again from `verdict.json` and the records."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from ..judging.verdict import Verdict
from .check import open_records
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
    from ...reports.terminal import print_summary
    from ...reports.write import write_reports

    path = directory / "verdict.json"
    try:
        verdict = Verdict.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ManifestError(f"{directory} holds no verdict: there is no verdict.json") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ManifestError(f"{path} is no verdict of this version: {where}: {first['msg']}") from None
    with open_records(directory) as store:
        write_reports(verdict, store.get, directory)
    print_summary(verdict, console=Console(), out_dir=directory, verbose=verbose)
    return 0
