"""`stepaudit compare`: two runs beside each other: what is new, fixed, drifted, and what only one of them has."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from ...scenarios import ScenarioError, nearest
from ...scenarios.selection_terms import Text
from ..contract import contract_named
from ..judging.comparison import RunSide, compare_runs
from ..judging.curve_comparison import CurveSet, curve_set
from ..judging.verdict import Verdict
from ..running.store import Store
from .manifest import RECORDS, ManifestError, verdict_in

__all__ = ["compare"]


def compare(
    a: Path,
    b: Path | None = None,
    /,
    *,
    subject_a: str | None = None,
    subject_b: str | None = None,
    out: Path | None = None,
    verbose: bool = False,
) -> int:
    """Compare two runs, commits or versions of a trainer, cell by cell.

    Counts are compared exactly, curves within the rounding noise of the runs; a cell that only one of them has is
    told and fails. Exits with 0 where nothing is worse, 1 where something is new, drifted or missing, 3 where a cell
    could not be judged, 4 where nothing could be compared.

    Parameters
    ----------
    a
        The output directory of one run: what was.
    b
        That of another: what is. Without it, two subjects of run A are compared.
    subject_a
        Of A, look at this subject only; with subject_b, cells are paired by their scenario alone.
    subject_b
        Of B, look at this subject only.
    out
        Write compare.json and compare.md into this directory.
    verbose
        Show every cell that differs.
    """
    from ...reports.comparison import comparison_json, comparison_markdown, print_comparison

    if b is None and (subject_a is None or subject_b is None):
        raise ScenarioError(
            "compare what with what? write two directories, or --subject-a and --subject-b of one run"
        )
    if (subject_a is None) != (subject_b is None):
        raise ScenarioError(
            "--subject-a and --subject-b go together: with one of them, nothing pairs the cells"
        )
    comparison = compare_runs(_side(a, subject_a), _side(b or a, subject_b))
    if out is not None:
        from ...reports.atomic import write_atomically

        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "compare.json", comparison_json(comparison))
        write_atomically(out / "compare.md", comparison_markdown(comparison))
    print_comparison(comparison, console=Console(), verbose=verbose)
    return comparison.exit_code


def _side(directory: Path, subject: str | None) -> RunSide:
    verdict = verdict_in(directory)
    chosen = None if subject is None else _chosen(subject, verdict, directory)
    return RunSide(
        source=str(directory), verdict=verdict, curves=_curves(directory, verdict, chosen), subject=chosen
    )


def _chosen(word: str, verdict: Verdict, directory: Path) -> str:
    names = sorted({cell.subject for cell in verdict.cells})
    found = [word] if word in names else [name for name in names if Text(text=word).matches(name)]
    if len(found) != 1:
        what = f"fits {', '.join(found)}" if found else f"is none of them{nearest(word, names)}"
        raise ScenarioError(f"{directory}: one subject, please: {word!r} {what}")
    return found[0]


def _curves(directory: Path, verdict: Verdict, subject: str | None) -> dict[str, CurveSet]:
    """Return the curves of the cells that have any: those of the tiers with real models, from their records."""
    wanted = [
        cell
        for cell in verdict.cells
        if cell.account is not None and cell.scenario["model"] != "tracer" and subject in (None, cell.subject)
    ]
    if not wanted:
        return {}
    path = directory / RECORDS
    if not path.is_file():
        raise ManifestError(f"{directory} has curves to compare, but no {RECORDS}")
    with Store(path, read_only=True) as store:
        found = {}
        for cell in wanted:
            record = store.get(cell.id)
            curves = curve_set(record, contract_named(cell.contract)) if record is not None else None
            if curves is not None:
                found[cell.id] = curves
    return found
