"""Clusters: nested failing sets are one fault, the earlier rule is its name."""

from __future__ import annotations

from stepaudit.harness.diagnosis import Judgement, clusters_of

ALL = frozenset(range(20))


def judged(*failing):
    return Judgement(failing=frozenset(failing), judged=ALL)


def test_a_consequence_joins_its_cause():
    found = clusters_of({"schedule": judged(1, 2), "target": judged(1, 2, 3), "epoch": judged()})
    assert [(item.rule, dict(item.consequences)) for item in found] == [("target", {"schedule": 2})]


def test_what_fails_elsewhere_too_is_a_fault_of_its_own():
    found = clusters_of({"target": judged(1, 2), "weight": judged(1, 2, 9)})
    assert [item.rule for item in found] == ["target", "weight"]


def test_a_consequence_joins_the_narrowest_cause():
    found = clusters_of({"target": judged(*range(10)), "window": judged(4, 5, 11), "leak": judged(4, 5)})
    assert dict(next(item for item in found if item.rule == "window").consequences) == {"leak": 2}
