"""What GitHub Actions gets of a run: the step summary, and annotations at the lines where one would look."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ...reports.github import Place, Places, annotation_lines, commands_stopped
from ...reports.markdown import summary_text
from ...scenarios import ScenarioError, scenario_from_mapping
from ...scenarios.suite_lines import scenario_line

if TYPE_CHECKING:
    from rich.console import Console

    from ..judging.verdict import Cluster, Verdict
    from .manifest import Manifest

__all__ = ["as_text", "line_writer", "places_of", "tell_github"]


@contextmanager
def as_text(write: Callable[[str], object]) -> Iterator[None]:
    """Where GitHub reads along, let nothing that is printed meanwhile be a command.

    Args:
        write: prints a line where the rest is printed.
    """
    with commands_stopped(write) if _is_read_along() else nullcontext():
        yield


def tell_github(
    verdict: Verdict,
    manifest: Manifest,
    write: Callable[[str], object],
    *,
    tests: Mapping[str, Place] | None = None,
) -> None:
    """Write the step summary and the annotations, where this runs in GitHub Actions.

    A summary that cannot be written is said, and does not change the verdict.

    Args:
        verdict: of the run.
        manifest: of the run.
        write: prints a line where GitHub reads.
        tests: cell id to the test that audited it, where tests did.
    """
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(summary_text(verdict))
        except OSError as error:
            write(f"stepaudit: warning: the step summary was not written: {error}")
    if _is_read_along():
        for line in annotation_lines(verdict, places_of(verdict, manifest, Path.cwd(), tests or {})):
            write(line)


def line_writer(console: Console) -> Callable[[str], object]:
    """Return a function that writes a line as it is, whatever the width."""

    def write(line: str) -> None:
        console.file.write(f"{line}\n")
        console.file.flush()

    return write


def places_of(verdict: Verdict, manifest: Manifest, here: Path, tests: Mapping[str, Place]) -> Places:
    """Return where the findings of a run are to be shown; only files of the repository are places.

    Args:
        verdict: what is shown.
        manifest: names the suite's file and those of the known deviations.
        here: the directory that paths are relative to.
        tests: cell id to the test that audited it: the place where there is neither a suite's file nor a trainer's.
    """
    cells = {cell.id: cell for cell in verdict.cells}
    suite = None if manifest.suite_file is None else _inside(Path(manifest.suite_file), here)

    def of_cluster(cluster: Cluster) -> Place | None:
        cell = cells.get(cluster.smallest)
        if suite is not None and cell is not None:
            try:
                line = scenario_line(here / suite, scenario_from_mapping(cell.scenario))
            except ScenarioError:
                line = None
            if line is not None:
                return Place(file=suite, line=line)
        return _trainer(cluster.subject, here) or _test(cluster.smallest)

    def _test(cell_id: str) -> Place | None:
        place = tests.get(cell_id)
        inside = None if place is None else _inside(Path(place.file), here)
        return None if place is None or inside is None else Place(file=inside, line=place.line)

    known = [text.file for text in manifest.known or ()]
    return Places(
        of_cluster=of_cluster,
        of_entry=lambda entry_id: _entry(entry_id, known, here),
        of_gate=None
        if verdict.gate is None
        else _found(Path(verdict.gate.source), r"^\s*\[\s*tool\.stepaudit\.gate\s*\]", here),
    )


def _trainer(subject: str, here: Path) -> Place | None:
    """Return the line of `def function` of a loop of one's own."""
    target, _, function = subject.rpartition(":")
    if not target:
        return None
    inside = target.replace(".", "/") + ".py"
    files = [target] if target.endswith(".py") else [inside, f"src/{inside}"]
    pattern = rf"^\s*(?:async\s+)?def\s+{re.escape(function)}\b"
    return next((place for name in files if (place := _found(Path(name), pattern, here))), None)


def _entry(entry_id: str, files: Sequence[str], here: Path) -> Place | None:
    pattern = rf"^\s*id\s*=\s*[\"']{re.escape(entry_id)}[\"']"
    return next((place for name in files if (place := _found(Path(name), pattern, here))), None)


def _found(path: Path, pattern: str, here: Path) -> Place | None:
    inside = _inside(path, here)
    if inside is None:
        return None
    try:
        text = (here / inside).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(pattern, text, re.MULTILINE)
    return None if match is None else Place(file=inside, line=text.count("\n", 0, match.end()) + 1)


def _inside(path: Path, here: Path) -> str | None:
    """Return a path relative to the repository's root, which is where GitHub runs commands."""
    whole, root = (here / path).resolve(), here.resolve()
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) and whole.is_file() else None


def _is_read_along() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"
