"""The floors of a project's gate: what counts for each, and that the limit itself is met."""

from __future__ import annotations

from pathlib import Path

import pytest
from hand_written import broken, entry, failed, judged, record, refused
from stepaudit.harness.judging.gate import gate_terms
from stepaudit.harness.ledger import Claims
from stepaudit.scenarios.gate import NO_GATE, Gate

FINE = [record(4, rows=rows) for rows in (5, 6, 7)]


def missed(*records, known=(), rules=None, **terms):
    """The floors that these cells miss, with what they come to."""
    gate = Gate(path=Path("pyproject.toml"), **terms)
    verdict = judged(*records, known=known, rules=rules, gate=gate)
    assert verdict.gate.source == "pyproject.toml"
    assert {name: getattr(verdict.gate, name) for name in terms if name != "informational"} == {
        name: limit for name, limit in terms.items() if name != "informational"
    }
    return [(item.term, item.limit, item.got) for item in verdict.gate.missed]


@pytest.mark.parametrize(("limit", "expected"), [(2, []), (3, []), (4, [("min_cells", 4, 3)])])
def test_cells_are_those_that_were_judged(limit, expected):
    """Neither a crash nor a cell that was declined is one."""
    assert missed(*FINE, failed(), refused(), min_cells=limit) == expected


@pytest.mark.parametrize(("limit", "expected"), [(2, []), (3, [("min_rules", 3, 2)])])
def test_a_rule_counts_once_if_any_cell_was_asked(limit, expected):
    """However many were."""
    claims = record(4, rows=8, claims=Claims(global_step=4))
    assert missed(*FINE, claims, rules=frozenset({"target", "claim"}), min_rules=limit) == expected


@pytest.mark.parametrize(("limit", "expected"), [(3, []), (2, []), (1, [("max_known", 1, 2)])])
def test_known_cells_have_a_known_deviation_among_theirs(tmp_path, limit, expected):
    """Beside a new one too; cells with new ones only are not known."""
    new = [broken(rows=rows) for rows in (7, 8, 9)]
    cells = [broken(rows=5), broken(rows=6, claims=Claims(global_step=1)), *new]
    known = [entry(tmp_path, where="rows:5,6")]
    rules = frozenset({"target", "claim"})
    assert missed(*cells, *FINE, known=known, rules=rules, max_known=limit) == expected


@pytest.mark.parametrize(("limit", "expected"), [(2, []), (1, []), (0, [("max_unsupported", 0, 1)])])
def test_unsupported_cells_are_those_that_were_declined(limit, expected):
    """And no others without books."""
    assert missed(*FINE, failed(), refused(), max_unsupported=limit) == expected


def test_an_informational_subject_meets_and_misses_nothing(tmp_path):
    """Its cells are not counted on either side."""
    ours = record(4, subject="ours")
    terms = {"min_cells": 2, "max_unsupported": 0, "max_known": 0, "informational": ("loop",)}
    found = missed(ours, *FINE, refused(), broken(), known=[entry(tmp_path, where="rows:4")], **terms)
    assert found == [("min_cells", 2, 1)]


def test_a_project_without_a_gate_demands_nothing():
    """And nothing is reported of it."""
    assert gate_terms(NO_GATE, judged(*FINE).cells) is None
    assert judged(*FINE).gate is None


def test_a_gate_without_floors_misses_none():
    """It says so."""
    assert missed(*FINE, failed()) == []
