"""Clusters of a run: their order, their smallest and largest cell, what they say of a known deviation, their ids."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hand_written import broken, entry, judged, record
from stepaudit.harness.judging.verdict import Standing
from stepaudit.harness.ledger import Claims
from stepaudit.scenarios.gate import Gate

TARGET = frozenset({"target"})


def boasting(**asked):
    """A loop that makes its updates and claims one more."""
    return record(4, claims=Claims(global_step=5), **asked)


def test_the_smallest_cell_stands_for_all():
    """Fewest micro-batches; failing and judged are counted over cells."""
    cells = [broken(max_steps=limit, cell_id=str(limit)) for limit in (7, 3, 5)]
    verdict = judged(*cells, record(4, cell_id="fine"))
    (cluster,) = [item for item in verdict.clusters if item.rule == "target"]
    assert (cluster.smallest, cluster.failing, cluster.judged) == ("3", 3, 4)
    assert (cluster.expected, cluster.got) == ("3 optimizer steps", "6 optimizer steps")
    assert cluster.first_divergence.update == 4
    assert "max_steps=3" in cluster.reproduce
    assert cluster.cell_ids == ["7", "3", "5"]


def test_subjects_are_apart_and_several_findings_of_a_cell_are_one():
    """`plan` finds two wrong totals in one cell: one failing cell."""
    wrong = Claims(planned_steps={"state": 9, "bar": 8})
    verdict = judged(
        record(4, cell_id="a", claims=wrong), record(4, cell_id="b", subject="other", claims=wrong)
    )
    plans = [item for item in verdict.clusters if item.rule == "plan"]
    assert [(item.subject, item.failing, item.judged) for item in plans] == [
        ("loop", 1, 1),
        ("other", 1, 1),
    ]
    assert len(verdict.cells[0].deviations) == 2


def test_new_comes_before_known(tmp_path):
    """What a person must look at first is first, whatever the rule order."""
    wrong = Claims(global_step=1)
    verdict = judged(broken(claims=wrong), known=[entry(tmp_path)])
    assert [item.rule for item in verdict.clusters][:2] == ["claim", "target"]


def test_the_most_urgent_standing_comes_first(tmp_path):
    """New, drifted, expired, for information, known: whatever the order of cells, rules and numbers of cells."""
    known = [
        entry(tmp_path, id=name, subject=name, **changes)
        for name, changes in (
            ("known", {}),
            ("drifted", {"got": "1 optimizer step"}),
            ("expired", {"expires": date(2026, 2, 1)}),
        )
    ]
    subjects = ("known", "informal", "expired", "drifted")
    verdict = judged(
        *(broken(subject=name) for name in subjects),
        *(broken(subject=name, max_steps=5) for name in subjects),
        boasting(subject="new"),
        known=known,
        gate=Gate(path=Path("pyproject.toml"), informational=("informal",)),
        rules=frozenset({"target", "claim"}),
    )
    assert [(item.subject, item.standing) for item in verdict.clusters] == [
        ("new", Standing.NEW),
        ("drifted", Standing.DRIFTED),
        ("expired", Standing.EXPIRED),
        ("informal", Standing.INFORMATIONAL),
        ("known", Standing.KNOWN),
    ]


def test_causes_come_before_consequences():
    """Within a standing the order of the rules decides, not the number of cells."""
    verdict = judged(
        boasting(rows=5),
        boasting(rows=6),
        broken(claims=Claims(global_step=8)),
        rules=frozenset({"claim", "target"}),
    )
    assert [(item.rule, item.failing) for item in verdict.clusters] == [("target", 1), ("claim", 2)]


def test_of_one_rule_the_subject_that_breaks_it_most_often_comes_first():
    """Then by name."""
    cells = [
        broken(subject="b"),
        broken(subject="c"),
        broken(subject="a", rows=5),
        broken(subject="c", rows=5),
    ]
    verdict = judged(*cells, rules=TARGET)
    assert [(item.subject, item.failing) for item in verdict.clusters] == [("c", 2), ("a", 1), ("b", 1)]


def sizes(*cells):
    """Smallest and largest cell of the only cluster."""
    (cluster,) = judged(*cells, rules=TARGET).clusters
    return cluster.smallest, cluster.largest and cluster.largest.cell_id


def test_smaller_is_fewer_micro_batches_then_a_shorter_description():
    """A long label does not make a short run large."""
    few = broken(max_steps=3, cell_id="few", learning_rate=0.001, shuffle=False)
    many = broken(max_steps=12, cell_id="many")
    wordy = broken(max_steps=12, cell_id="wordy", shuffle=False)
    assert len(few.scenario.label) > len(many.scenario.label)
    assert sizes(many, few, wordy) == ("few", "wordy")
    assert sizes(wordy, many) == ("many", "wordy")


def test_equal_sizes_are_told_apart_by_their_description():
    """So that the order of the cells does not matter."""
    cells = [broken(max_steps=4, rows=rows, cell_id=str(rows)) for rows in (7, 5, 6)]
    assert sizes(*cells) == sizes(*reversed(cells)) == ("5", "7")


def test_a_cell_with_nothing_to_train_on_is_the_smallest():
    """Before one of a single micro-batch with a shorter description."""
    nothing = record(3, rows=1, per_device_batch_size=2, drop_last=True, cell_id="nothing")
    one = record(3, max_steps=1, cell_id="one")
    assert len(nothing.scenario.label) > len(one.scenario.label)
    assert sizes(one, nothing) == ("nothing", "one")


def test_the_largest_cell_is_told_where_it_is_another_one():
    """With what it shows; a cluster of one cell has none."""
    small, large = broken(max_steps=3, cell_id="small"), broken(max_steps=9, cell_id="large")
    (cluster,) = judged(small, large, rules=TARGET).clusters
    assert (cluster.label, cluster.largest.label) == (small.scenario.label, large.scenario.label)
    assert (cluster.got, cluster.largest.got) == ("6 optimizer steps", "18 optimizer steps")
    assert (cluster.expected, cluster.largest.expected) == ("3 optimizer steps", "9 optimizer steps")
    assert sizes(small) == ("small", None)


def test_a_known_deviation_is_told_with_its_terms(tmp_path):
    """A new one has none."""
    known = entry(tmp_path, where="rows:4")
    new, old = judged(broken(), broken(rows=5), known=[known], rules=TARGET).clusters
    assert (old.known_id, old.reason, old.upstream) == ("doubles", "it doubles", "nowhere")
    assert (old.owner, old.expires) == ("nobody", "2026-06-01")
    assert (new.known_id, new.reason, new.upstream, new.owner, new.expires) == (None, "", None, None, None)


def test_cells_of_two_entries_are_two_clusters(tmp_path):
    """Whoever looks after one need not look at the other."""
    known = [
        entry(tmp_path, id="four", where="rows:4"),
        entry(tmp_path, id="five", where="rows:5"),
    ]
    clusters = judged(broken(cell_id="4"), broken(rows=5, cell_id="5"), known=known, rules=TARGET).clusters
    assert {item.known_id: (item.cell_ids, item.failing, item.judged) for item in clusters} == {
        "four": (["4"], 1, 2),
        "five": (["5"], 1, 2),
    }


def test_several_findings_of_a_cell_are_shown_by_the_first():
    """The cell counts once."""
    claims = Claims(planned_steps={"state": 9, "bar": 8})
    (cluster,) = judged(record(4, claims=claims), rules=frozenset({"plan"})).clusters
    first, second = judged(record(4, claims=claims), rules=frozenset({"plan"})).cells[0].deviations
    assert first.got != second.got
    assert (cluster.got, cluster.failing, len(cluster.cell_ids)) == (first.got, 1, 1)


@pytest.mark.parametrize(
    ("subjects", "ids"),
    [
        (["loop"], ["target-loop"]),
        (["my/Loop.py:train()"], ["target-my-loop-py-train"]),
        (["a:b", "a.b", "a b"], ["target-a-b", "target-a-b-2", "target-a-b-3"]),
    ],
)
def test_ids_are_words_of_rule_and_subject(subjects, ids):
    """Numbered from the second on where they would be the same."""
    verdict = judged(*(broken(subject=name) for name in subjects), rules=TARGET)
    assert sorted(item.id for item in verdict.clusters) == ids


def test_the_id_says_how_a_deviation_stands_unless_it_is_new(tmp_path):
    """`baseline accept` takes new ones."""
    verdict = judged(broken(), broken(rows=5), known=[entry(tmp_path, where="rows:4")], rules=TARGET)
    assert [item.id for item in verdict.clusters] == ["target-loop", "target-loop-known"]
