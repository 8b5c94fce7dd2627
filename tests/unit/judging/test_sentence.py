"""The verdict in one sentence: what is wrong comes first, and a missed floor never goes unsaid."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hand_written import broken, entry, failed, judged, record, refused
from stepaudit.harness.ledger import Claims
from stepaudit.scenarios.gate import Gate

TARGET = frozenset({"target"})
FINE, WRONG, LOST, DECLINED = record(4, rows=5), broken(), failed(), refused()
OURS = record(4, subject="ours")
LABEL = WRONG.scenario.label


def sentence(*records, gate=None, **facts):
    terms = {} if gate is None else {"gate": Gate(path=Path("pyproject.toml"), **gate)}
    return judged(*records, **({"rules": TARGET} | terms | facts)).sentence


SAID = f"loop in 1 of 1 cell: 8 optimizer steps where the contract says 4 optimizer steps ({LABEL})"


@pytest.mark.parametrize(
    ("records", "facts", "said"),
    [
        ([FINE], {}, "1 cell judged."),
        ([FINE, OURS, DECLINED], {}, "2 cells judged."),
        ([WRONG], {}, f"`target` is broken by {SAID}."),
        ([WRONG, LOST], {}, f"`target` is broken by {SAID}; 1 could not be judged."),
        ([FINE, LOST, OURS], {}, "1 of 3 cells gave no ledger; the other 2 hold."),
        ([], {}, "None of 0 cells could be judged (0 unsupported)."),
        ([DECLINED], {}, "None of 1 cell could be judged (1 unsupported)."),
        ([FINE], {"interrupted": True}, "1 cell judged so far. The same command goes on from here."),
        (
            [FINE, LOST],
            {"interrupted": True},
            "1 cell judged so far; 1 could not be judged. The same command goes on from here.",
        ),
        (
            [FINE, LOST],
            {"flaky": frozenset({FINE.cell_id})},
            "1 cell gave two different ledgers in two identical runs; 1 could not be judged.",
        ),
    ],
)
def test_what_is_said_of_a_run(records, facts, said):
    """Word for word."""
    assert sentence(*records, **facts) == said


def test_all_subjects_that_break_the_first_rule_alike_are_accused_together():
    """Others, and other rules, are not in the sentence."""
    cells = [
        broken(subject="a"),
        broken(subject="a", max_steps=9),
        record(4, subject="a", rows=5),
        broken(subject="b"),
        record(4, subject="c", claims=Claims(global_step=7)),
    ]
    said = sentence(*cells, rules=frozenset({"target", "claim"}))
    assert said.startswith(
        "`target` is broken by a in 2 of 3 cells, b in 1 of 1 cell: 8 optimizer steps where"
    )
    assert said.endswith(f", 18 optimizer steps where it says 9 optimizer steps ({cells[1].scenario.label}).")
    assert "claim" not in said


def test_a_rule_that_is_known_of_one_subject_is_no_accusation_of_it(tmp_path):
    """New and known ones are told apart."""
    said = sentence(WRONG, broken(subject="other"), known=[entry(tmp_path)])
    assert said.startswith("`target` is broken by other in 1 of 1 cell: ")


def test_what_is_known_is_counted_beside_what_was_judged(tmp_path):
    """A pass with exceptions says so."""
    known = [entry(tmp_path)]
    assert sentence(WRONG, OURS, known=known) == "2 cells judged, 1 of them with known deviations only."
    informal = {"informational": ("loop",)}
    assert sentence(WRONG, OURS, gate=informal) == "1 cell judged, 1 more deviate for information."


@pytest.mark.parametrize("cells", [[FINE], [WRONG]])
def test_a_run_of_informational_subjects_only(cells):
    """It is not called unjudged."""
    said = sentence(*cells, gate={"informational": ("loop",)})
    assert (
        said
        == "Every cell that could be judged is of an informational subject: the gate has nothing to hold."
    )


def test_flaky_cells_of_informational_subjects_only():
    """They were judged too."""
    said = sentence(FINE, gate={"informational": ("loop",)}, flaky=frozenset({FINE.cell_id}))
    assert "informational subject" in said


def test_a_stale_entry_is_what_fails(tmp_path):
    """Where nothing else does."""
    said = sentence(record(4), LOST, known=[entry(tmp_path)])
    assert said == "1 known deviation is stale or expired; 1 could not be judged."


def test_an_expired_entry_is_told_by_what_it_no_longer_excuses(tmp_path):
    """The deviation itself is the news."""
    said = sentence(WRONG, known=[entry(tmp_path, expires=date(2026, 2, 1))])
    assert said == f"`target` is broken by {SAID}."


class TestMissedFloor:
    """It is always in the sentence: first where nothing else is wrong, after the accusation otherwise."""

    MISSED = "The gate is missed: min_cells = 9: judged {}, at least 9 wanted."

    def test_alone(self):
        """The floor is the news."""
        assert sentence(FINE, gate={"min_cells": 9}) == f"{self.MISSED.format(1)} 1 cell judged."
        said = sentence(FINE, LOST, gate={"min_cells": 9})
        assert said == f"{self.MISSED.format(1)} 1 cell judged; 1 could not be judged."

    def test_beside_something_broken(self, tmp_path):
        """A deviation, a flaky cell, a stale entry come first."""
        floor = {"min_cells": 9}
        missed = f" {self.MISSED.format(1)}"
        assert sentence(WRONG, gate=floor) == f"`target` is broken by {SAID}.{missed}"
        assert sentence(FINE, gate=floor, flaky=frozenset({FINE.cell_id})).endswith(
            f"identical runs.{missed}"
        )
        assert sentence(record(4), gate=floor, known=[entry(tmp_path)]).endswith(f"stale or expired.{missed}")

    def test_beside_known_deviations(self, tmp_path):
        """Which are nothing broken."""
        said = sentence(WRONG, gate={"min_cells": 9}, known=[entry(tmp_path)])
        assert said.startswith(self.MISSED.format(1))

    def test_where_nothing_was_judged(self):
        """The floor does not hide that."""
        said = sentence(DECLINED, gate={"min_cells": 9})
        assert said == f"None of 1 cell could be judged (1 unsupported). {self.MISSED.format(0)}"

    def test_all_missed_floors_are_named(self):
        """And a gate that is met says nothing."""
        said = sentence(FINE, DECLINED, gate={"min_cells": 9, "max_unsupported": 0})
        assert "judged 1, at least 9 wanted; max_unsupported = 0: unsupported 1, at most 0 allowed." in said
        assert sentence(FINE, gate={"min_cells": 1}) == "1 cell judged."
