"""Writes every report of a run into its output directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .atomic import write_atomically
from .details import details_of
from .exhibits import RecordsLookup, exhibits_of
from .extras import NO_EXTRAS, Extras
from .html import page_text
from .json_file import verdict_text
from .junit import junit_text
from .markdown import summary_text
from .museum import museum_text
from .overview import matrix
from .replays import overlays, replayed_cells

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ..harness.judging.verdict import Verdict
    from .svg import Drawing

__all__ = ["Written", "write_reports"]


_XML = "<?xml version='1.0' encoding='UTF-8'?>\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """The files that were written, in that order."""

    paths: tuple[Path, ...]


def write_reports(
    verdict: Verdict, records_lookup: RecordsLookup, out_dir: Path, *, extras: Extras = NO_EXTRAS
) -> Written:
    """Write `verdict.json`, `junit.xml`, `summary.md`, `cells.csv|parquet`, `figures/` and `report.html`.

    Each file is replaced in one go, `verdict.json` first: all others can be made again from it. Ledgers are
    asked for the exhibits only, two a cluster and for a dozen clusters at most, so that the number of cells
    does not matter; of the numeric tier's cells, whose records are short, for the first hundreds.

    Args:
        verdict: the verdict of the run.
        records_lookup: cell id to its record, or None where there is none.
        out_dir: made if it does not exist.
        extras: what is known of earlier runs.

    Raises:
        OSError: the folder cannot be written, or the disk is full; files not reached are as they were.
    """
    # matplotlib and pandas take a second to import; a run that writes no report does not wait for them
    from .figures import loss_figure, matrix_figure, step_cells, steps_figure
    from .replay_figures import envelopes_figure, overlay_figure
    from .tables import cells_frame, csv_text, parquet_bytes

    out_dir.mkdir(parents=True, exist_ok=True)
    paths = [
        write_atomically(out_dir / "verdict.json", verdict_text(verdict)),
        write_atomically(out_dir / "junit.xml", junit_text(verdict)),
        write_atomically(out_dir / "summary.md", summary_text(verdict)),
    ]
    if verdict.museum:
        paths.append(write_atomically(out_dir / "museum.md", museum_text(verdict)))
    frame = cells_frame(verdict)
    paths.append(write_atomically(out_dir / "cells.csv", csv_text(frame)))
    paths.append(write_atomically(out_dir / "cells.parquet", parquet_bytes(frame)))
    exhibits = exhibits_of(verdict, records_lookup)
    parted = step_cells(verdict)
    steps = steps_figure(parted) if parted else None
    first_of = {
        exhibit.cell.id: exhibit for exhibit in reversed(exhibits)
    }  # clusters may share their smallest cell
    curves = [exhibit for exhibit in exhibits if first_of[exhibit.cell.id] is exhibit]
    losses = {exhibit.slug: drawing for exhibit in curves if (drawing := loss_figure(exhibit)) is not None}
    rules = matrix(verdict)
    overall = matrix_figure(rules) if rules.entries else None
    replayed = replayed_cells(verdict, records_lookup)
    replays = [envelopes_figure(replayed)] if replayed else []
    replays += [overlay_figure(item, number) for number, item in enumerate(overlays(replayed), start=1)]
    paths += _write_figures(
        out_dir / "figures",
        [item for item in (steps, overall, *losses.values(), *replays) if item is not None],
    )
    page = page_text(
        verdict,
        exhibits=exhibits,
        steps=steps,
        losses=losses,
        replays=replays,
        details=details_of(verdict, records_lookup, also=[item.cell.id for item in overlays(replayed)]),
        extras=extras,
    )
    paths.append(write_atomically(out_dir / "report.html", page))
    return Written(paths=tuple(paths))


def _write_figures(folder: Path, drawings: Iterable[Drawing]) -> list[Path]:
    """Write the figures, and remove those of an earlier run that this one does not have."""
    folder.mkdir(exist_ok=True)
    paths = []
    for drawing in drawings:
        paths.append(write_atomically(folder / f"{drawing.name}.svg", f"{_XML}{drawing.svg}"))
        paths.append(write_atomically(folder / f"{drawing.name}.png", drawing.png))
    for pattern in ("steps.*", "matrix.*", "envelopes.*", "loss-*.*"):
        for old in folder.glob(pattern):
            if old.suffix in {".svg", ".png"} and old not in paths:
                old.unlink()
    return paths
