"""The score of the harness itself: how a seeded fault was caught, how soon, and who was accused wrongly."""

from __future__ import annotations

import pytest
from hand_written import broken, failed, judged, record, refused
from stepaudit.harness.judging.score import Catch, FaultScore, Score, UnusualScore, score_fault, score_unusual
from stepaudit.harness.ledger import Claims

FINE = record(4)
WRONG = broken(rows=5)
BOASTS = record(4, rows=6, claims=Claims(global_step=9))
LOST, DECLINED = failed(rows=7), refused(rows=8)


def scored(*records, rule="target"):
    cells = judged(*records, rules=frozenset({"target", "claim"})).cells
    return score_fault("fault", rule, "counts", cells)


@pytest.mark.parametrize(
    ("records", "catch", "cells", "failing", "first", "others", "errors"),
    [
        ([WRONG], Catch.NAMED, 1, 1, 1, {}, 0),
        ([FINE, FINE, WRONG], Catch.NAMED, 3, 1, 3, {}, 0),
        ([WRONG, FINE, WRONG], Catch.NAMED, 3, 2, 1, {}, 0),
        ([FINE, WRONG, WRONG, WRONG], Catch.NAMED, 4, 3, 2, {}, 0),
        ([BOASTS, WRONG], Catch.NAMED, 2, 1, 2, {"claim": 1}, 0),
        ([BOASTS, FINE, BOASTS], Catch.OTHER, 3, 0, None, {"claim": 2}, 0),
        ([FINE, FINE], Catch.MISSED, 2, 0, None, {}, 0),
        ([LOST, FINE, LOST], Catch.MISSED, 1, 0, None, {}, 2),
        ([LOST, DECLINED, WRONG], Catch.NAMED, 1, 1, 1, {}, 1),
        ([LOST], Catch.NOT_RUN, 0, 0, None, {}, 1),
        ([DECLINED], Catch.NOT_RUN, 0, 0, None, {}, 0),
        ([], Catch.NOT_RUN, 0, 0, None, {}, 0),
    ],
)
def test_a_fault(records, catch, cells, failing, first, others, errors):
    """By its rule, by another one, not at all; cells without books count for nothing but errors."""
    assert scored(*records) == FaultScore(
        name="fault",
        rule="target",
        family="counts",
        catch=catch,
        cells=cells,
        failing=failing,
        first=first,
        others=others,
        errors=errors,
    )


def test_a_correct_trainer_is_accused_by_everything_that_is_found():
    """Each rule once, with the first cell that shows it."""
    again = broken(rows=9)
    cells = judged(FINE, LOST, WRONG, again, BOASTS, DECLINED, rules=frozenset({"target", "claim"})).cells
    score = score_unusual("odd", cells)
    assert (score.name, score.cells, score.errors) == ("odd", 4, 1)
    assert score.alarms == {"target": cells[2].reproduce, "claim": cells[4].reproduce}
    assert score_unusual("odd", judged(FINE).cells) == UnusualScore(name="odd", cells=1, alarms={}, errors=0)


NAMED, OTHER, MISSED = scored(WRONG), scored(BOASTS), scored(FINE)
HALF = scored(WRONG, LOST)
QUIET = UnusualScore(name="odd", cells=3, alarms={}, errors=0)
ACCUSED = UnusualScore(name="odd", cells=3, alarms={"target": "x", "claim": "y"}, errors=0)
CRASHED = UnusualScore(name="odd", cells=0, alarms={}, errors=3)


@pytest.mark.parametrize(
    ("faults", "unusual", "false_alarms", "unjudged", "perfect"),
    [
        ((), (), 0, 0, True),
        ((NAMED, NAMED), (QUIET,), 0, 0, True),
        ((NAMED, OTHER), (QUIET,), 0, 0, False),
        ((NAMED, MISSED), (QUIET,), 0, 0, False),
        ((NAMED,), (QUIET, ACCUSED), 1, 0, False),
        ((NAMED,), (ACCUSED, ACCUSED), 2, 0, False),
        ((HALF, NAMED, HALF), (QUIET,), 0, 2, False),
        ((NAMED,), (CRASHED, QUIET), 0, 3, False),
        ((HALF,), (CRASHED, CRASHED), 0, 7, False),
    ],
)
def test_the_whole_catalogue_is_perfect_only_without_any_exception(
    faults, unusual, false_alarms, unjudged, perfect
):
    """Every fault by its own rule, no false alarm, no cell without a ledger."""
    score = Score(faults=faults, unusual=unusual)
    assert (score.false_alarms, score.unjudged, score.is_perfect) == (false_alarms, unjudged, perfect)


def test_catches_are_counted_by_their_kind():
    """Each fault has one."""
    score = Score(faults=(NAMED, OTHER, NAMED, MISSED, NAMED))
    assert {catch: score.caught(catch) for catch in Catch} == {
        Catch.NAMED: 3,
        Catch.OTHER: 1,
        Catch.MISSED: 1,
        Catch.NOT_RUN: 0,
    }
