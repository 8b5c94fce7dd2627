"""Known deviations: what passes, what fails the gate, and why."""

from __future__ import annotations

from datetime import date

import pytest
from hand_written import broken, entry, judged, record
from stepaudit.harness.judging.verdict import CellOutcome, Standing


def standings(verdict):
    return {
        deviation.standing
        for cell in verdict.cells
        for deviation in cell.deviations
        if deviation.rule == "target"
    }


def test_conforming_without_an_entry():
    """Nothing to say."""
    verdict = judged(record(4))
    assert (verdict.exit_code, verdict.counts.conforms) == (0, 1)
    assert verdict.cells[0].verdict is CellOutcome.CONFORMS
    assert verdict.clusters == []


def test_deviating_without_an_entry_is_new():
    """Fails."""
    verdict = judged(broken())
    assert (verdict.exit_code, verdict.counts.new, verdict.counts.deviates) == (1, 1, 1)
    assert standings(verdict) == {Standing.NEW}


@pytest.mark.parametrize(
    "pin",
    [
        {},
        {"got": "8 optimizer steps"},
        {"got_formula": "2 * max_steps"},
        {"got_formula": "expected * 2"},
        {"when": "M % A == 0 and T >= U"},
        {"where": "max_steps:4"},
        {"subject": "l*"},
        {"versions": ["torch>=2.0,<3"]},
    ],
    ids=str,
)
def test_a_covering_entry_with_the_same_value_is_known(tmp_path, pin):
    """Passes, and names the entry."""
    verdict = judged(broken(), known=[entry(tmp_path, **pin)])
    (deviation,) = verdict.cells[0].deviations
    assert (verdict.exit_code, verdict.counts.known) == (0, 1)
    assert (deviation.standing, deviation.known_id) == (Standing.KNOWN, "doubles")
    assert verdict.clusters[0].reason == "it doubles"
    assert verdict.clusters[0].upstream == "nowhere"


@pytest.mark.parametrize("pin", [{"got": "9 optimizer steps"}, {"got_formula": "max_steps + 1"}], ids=str)
def test_another_value_has_drifted(tmp_path, pin):
    """Fails, and names the entry."""
    verdict = judged(broken(), known=[entry(tmp_path, **pin)])
    assert (verdict.exit_code, verdict.counts.drifted) == (1, 1)
    assert standings(verdict) == {Standing.DRIFTED}
    assert verdict.cells[0].deviations[0].known_id == "doubles"


@pytest.mark.parametrize(
    "miss",
    [
        {"where": "max_steps:5"},
        {"when": "M % A > 0"},
        {"subject": "other"},
        {"rule": "claim"},
        {"versions": ["torch<2"]},
        {"versions": ["unsloth_zoo>=1"]},
    ],
    ids=str,
)
def test_an_entry_that_does_not_cover_changes_nothing(tmp_path, miss):
    """The deviation is new, and the entry is not stale by this cell."""
    verdict = judged(broken(), known=[entry(tmp_path, **miss)])
    assert (verdict.exit_code, verdict.counts.new) == (1, 1)
    assert verdict.stale == []


def test_an_expired_entry_fails(tmp_path):
    """The day after its last day; on the last day it still counts."""
    known = [entry(tmp_path)]
    assert judged(broken(), known=known, today=date(2026, 6, 1)).exit_code == 0
    verdict = judged(broken(), known=known, today=date(2026, 6, 2))
    assert verdict.exit_code == 1
    assert verdict.counts.expired == 1
    assert standings(verdict) == {Standing.EXPIRED}


def test_a_covered_cell_that_conforms_makes_the_entry_stale(tmp_path):
    """Fails, and lists the cells, also when another cell still deviates."""
    known = [entry(tmp_path)]
    verdict = judged(record(4), known=known)
    assert (verdict.exit_code, verdict.counts.stale) == (1, 1)
    assert (verdict.stale[0].known_id, verdict.stale[0].standing) == ("doubles", "stale")
    both = judged(record(4, cell_id="fine"), broken(rows=5, cell_id="still"), known=known)
    assert both.exit_code == 1
    assert both.stale[0].cell_ids == ["fine"]
    assert both.counts.known == 1


def test_a_rule_that_was_not_asked_makes_nothing_stale(tmp_path):
    """With a choice of rules, entries of others are left alone; likewise a rule that could not judge."""
    known = [entry(tmp_path)]
    assert judged(record(4), known=known, rules=frozenset({"window"})).stale == []
    claim = [entry(tmp_path, rule="claim")]
    assert judged(record(4), known=claim).stale == []
