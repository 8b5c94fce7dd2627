"""Subjects that the gate only reports: shown, counted apart, never failing, and no excuse for a crash."""

from __future__ import annotations

from pathlib import Path

import hand_written
import pytest
from hand_written import TODAY, broken, entry, failed, record
from stepaudit.harness.judging.verdict import Standing
from stepaudit.scenarios.gate import Gate

FINE = record(4, subject="ours")


def judged(*records, known=(), flaky=(), **terms):
    """The verdict on these records where `loop` is informational."""
    gate = Gate(path=Path("pyproject.toml"), informational=("loop",), **terms)
    return hand_written.judged(*records, known=known, flaky=frozenset(flaky), gate=gate)


def test_its_deviations_are_there_and_fail_nothing():
    """The cluster is open, last, and says what it is."""
    verdict = judged(FINE, broken())
    assert (verdict.exit_code, verdict.counts.new, verdict.counts.informational) == (0, 0, 1)
    assert {cluster.standing for cluster in verdict.clusters} == {Standing.INFORMATIONAL}
    assert "1 more deviate for information" in verdict.sentence


def test_another_subject_fails_beside_it():
    """The exemption is by name."""
    verdict = judged(broken(subject="ours"), broken())
    assert verdict.exit_code == 1
    assert [cluster.standing.fails for cluster in verdict.clusters] == sorted(
        (cluster.standing.fails for cluster in verdict.clusters), reverse=True
    )
    assert "ours" in verdict.sentence
    assert "loop in" not in verdict.sentence


@pytest.mark.parametrize(
    "pin", [{"got": "9 optimizer steps"}, {"expires": TODAY.replace(year=2026, month=2)}], ids=str
)
def test_neither_drifted_nor_expired(tmp_path, pin):
    """What would fail another subject does not fail this one."""
    verdict = judged(FINE, broken(), known=[entry(tmp_path, **pin)])
    assert verdict.exit_code == 0
    assert verdict.stale == []


def test_a_stale_entry_of_it_fails_nothing(tmp_path):
    """It may conform on some days."""
    assert judged(FINE, record(4), known=[entry(tmp_path)]).exit_code == 0


def test_known_stays_known(tmp_path):
    """An entry is more than the exemption."""
    assert judged(FINE, broken(), known=[entry(tmp_path)]).counts.known == 1


def test_a_crash_is_still_not_judged():
    """No books, no verdict, whoever it is."""
    assert judged(FINE, failed()).exit_code == 3


def test_flaky_fails_only_where_it_counts():
    """Two ledgers of an informational subject are reported."""
    loose = record(4, cell_id="loose")
    assert judged(FINE, loose, flaky=["loose"]).exit_code == 0
    assert judged(FINE, loose, flaky=[FINE.cell_id]).exit_code == 1


def test_it_meets_no_floor():
    """Cells that cannot fail are no evidence."""
    assert judged(FINE, record(4), min_cells=2).exit_code == 1
    assert judged(FINE, min_cells=1).exit_code == 0


def test_a_gate_with_nothing_else_has_nothing_to_hold():
    """Exit 4, never a pass."""
    verdict = judged(record(4))
    assert verdict.exit_code == 4
    assert "informational subject" in verdict.sentence


def test_cluster_ids_are_unique_and_say_what_they_are():
    """Also where two subjects differ by signs only."""
    verdict = judged(broken(subject="a:b"), broken(subject="a.b"), broken())
    ids = [cluster.id for cluster in verdict.clusters]
    assert len(ids) == len(set(ids))
    assert {"target-a-b", "target-a-b-2", "target-loop-informational"} <= set(ids)
