"""GitHub annotations: at most nine, one a finding, at the right line, and hostile text is text."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from stepaudit.harness.judging.verdict import ExpiringEntry, GateTerms, MissedFloor
from stepaudit.reports.github import MOST_ANNOTATIONS, Place, Places, annotation_lines, commands_stopped

COMMAND = re.compile(r"::(error|warning) (?:file=([^,:]+),line=(\d+),)?title=([^:]*)::(.*)")
NOWHERE = Places(of_cluster=lambda cluster: None, of_entry=lambda entry_id: None, of_gate=None)


def parsed(verdict, places=NOWHERE):
    found = [COMMAND.fullmatch(line) for line in annotation_lines(verdict, places)]
    assert all(found)
    return [match.groups() for match in found]


def test_failures_first_and_no_known_deviation(founding):
    """New, drifted, expired, stale, then what was not judged."""
    titles = [title for _, _, _, title, _ in parsed(founding)]
    assert titles[0].startswith("new%3A target")
    assert [word for word in titles if "known" in word and "stale" not in word] == []
    standings = [title.split("%3A")[0].split(" ")[0] for title in titles]
    assert standings.index("drifted") < standings.index("expired") < standings.index("stale")


def test_the_evidence_is_there(founding):
    """Formula, expected, got and the line to copy, on lines of their own."""
    text = parsed(founding)[0][4]
    for part in ("formula: T = max_steps", "expected: ", "got: ", "Reproduce with: stepaudit replay"):
        assert f"%0A{part}" in text


def test_places(founding):
    """A new cluster is at its scenario, an expired one at its entry, a floor at the gate."""
    places = Places(
        of_cluster=lambda cluster: Place(file="suite.toml", line=3),
        of_entry=lambda entry_id: Place(file="known.toml", line=7),
        of_gate=Place(file="pyproject.toml", line=9),
    )
    missed = MissedFloor(term="min_cells", limit=9, got=1, text="min_cells = 9: judged 1")
    gate = GateTerms(source="pyproject.toml", min_cells=9, informational=[], missed=[missed])
    expiring = [ExpiringEntry(known_id="k", expires="2026-01-01", days=3, owner="us", upstream="u", text="t")]
    clusters = [cluster for cluster in founding.clusters if cluster.rule != "plan"]
    verdict = founding.model_copy(
        update={"gate": gate, "expiring": expiring, "clusters": clusters, "cells": []}
    )
    found = {
        title.split("%3A")[0]: (level, file, line) for level, file, line, title, _ in parsed(verdict, places)
    }
    assert found["new"] == ("error", "suite.toml", "3")
    assert found["drifted"] == found["expired"] == ("error", "known.toml", "7")
    assert found["gate missed"] == ("error", "pyproject.toml", "9")
    assert found["known deviation about to expire"] == ("warning", "known.toml", "7")


def test_never_more_than_nine(verdicts):
    """The ninth says how many there are besides."""
    verdict = verdicts.founding_verdict()
    many = [verdict.clusters[0].model_copy(update={"id": str(number)}) for number in range(40)]
    found = parsed(verdict.model_copy(update={"clusters": many, "stale": [], "cells": []}))
    assert len(found) == MOST_ANNOTATIONS
    assert found[-1][4].startswith("32 more findings")


def test_hostile_text_is_one_command(hostile):
    """No new line, no second command, no property of a stranger's."""
    for line in annotation_lines(hostile, NOWHERE):
        assert "\n" not in line
        assert "\r" not in line
        assert line.startswith(("::error title=", "::warning title="))
        assert COMMAND.fullmatch(line)


@pytest.mark.parametrize("failing", [False, True])
def test_commands_are_stopped_while_strangers_speak(failing):
    """By a token that nobody can guess, and on again whatever happens."""
    lines = []
    with suppress(KeyError), commands_stopped(lines.append):
        lines.append("::error::not mine")
        if failing:
            {}["nothing"]
    token = lines[0].removeprefix("::stop-commands::")
    assert len(token) == 32
    assert lines[-1] == f"::{token}::"
