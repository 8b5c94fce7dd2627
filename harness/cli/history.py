"""`stepaudit history`: since which run, commit or version something deviates; and how every run adds to it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from rich.console import Console

from ...scenarios import ScenarioError
from ...scenarios.selection import parse_selection
from ...scenarios.selection_terms import Text
from ...scenarios.vocabulary import SCENARIO_VOCABULARY
from ..contract import rule_named
from ..judging.verdict import ExitCode, Verdict
from ..running.history import cell_histories, history_path, read_history, record_run
from .git import commit_of, project_of
from .numbers import Whole, at_least
from .options import Many

__all__ = ["history", "remember"]


def history(
    *,
    subject: Many = None,
    rule: Many = None,
    select: str | None = None,
    runs: Whole = 40,
    all_projects: bool = False,
) -> int:
    """Show since which run, commit or version each rule of each subject deviates, with a line over the last runs.

    Parameters
    ----------
    subject
        This subject only, with or without its version, may be repeated.
    rule
        This rule only, may be repeated.
    select
        Show the cells that deviated when they ran last, of the scenarios that match; "" for all of them.
    runs
        How many runs, the newest.
    all_projects
        Of all projects, not only of the one in this directory.
    """
    from ...reports.history import print_cells, print_rules

    path = history_path()
    if path is None:
        raise ScenarioError("there is no history: STEPAUDIT_HISTORY is empty")
    number = at_least("--runs", runs, 1)
    rules = {rule_named(name).rule_id for name in rule or ()}
    selection = None if select is None else parse_selection(select, SCENARIO_VOCABULARY)
    project = None if all_projects else project_of(Path.cwd())

    def is_asked(name: str) -> bool:
        return not subject or any(Text(text=word).matches(name) for word in subject)

    console = Console(soft_wrap=True, highlight=False, markup=False)
    try:
        if selection is not None:
            cells = cell_histories(
                path, project=project, wanted=selection.matches, subject=is_asked, runs=number
            )
            cells = tuple(cell for cell in cells if not rules or rules & set(cell.rules))
            print_cells(cells, console=console)
            return ExitCode.PASSED
        found = [
            item
            for item in read_history(path, project=project, runs=number)
            if is_asked(item.subject) and (not rules or item.rule in rules)
        ]
    except sqlite3.Error as error:
        raise ScenarioError(f"{path}: {error}") from None
    print_rules(found, console=console)
    return ExitCode.PASSED if found else ExitCode.NOTHING


def remember(verdict: Verdict, console: Console) -> None:
    """Add a run to the history; whatever goes wrong is a warning, never the run's failure."""
    path = history_path()
    if path is None:
        return
    here = Path.cwd()
    try:
        commit = commit_of(here)
        record_run(
            path,
            verdict,
            project=project_of(here),
            commit=commit.name if commit else None,
            dirty=commit is not None and commit.dirty,
        )
    except (OSError, sqlite3.Error) as error:
        console.print(
            f"stepaudit: warning: the history {path} was not written: {error}", markup=False, highlight=False
        )
