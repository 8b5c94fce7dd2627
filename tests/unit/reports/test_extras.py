"""Earlier runs in the report: a sparkline a rule, since when, and which packages changed."""

import re

import pytest
from stepaudit.reports.extras import Extras, Past, changes_between, since_text
from stepaudit.reports.html import page_text


def past(*deviating):
    return tuple(
        Past(
            started=f"2026-11-{day:02d}",
            commit=f"{day:040d}" if day % 2 else None,
            checked=31,
            deviating=number,
        )
        for day, number in enumerate(deviating, 1)
    )


@pytest.mark.parametrize(
    ("runs", "text"),
    [
        ((), ""),
        ((0, 0), "new in this run: it held in the run before, 2026-11-02"),
        ((5, 5), "in every run of the history, since 2026-11-01 (commit 000000000000)"),
        ((0, 0, 5, 5), "in the last 3 runs, since 2026-11-03 (commit 000000000000); it held in 2026-11-02"),
    ],
)
def test_since_when(runs, text):
    """Only the unbroken row of runs up to now counts."""
    assert since_text(past(*runs)) == text


def test_changes_are_those_that_differ():
    """A package that is new, gone or of another version is a change; one that is as it was is none."""
    changes = changes_between({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"})
    assert [(change.name, change.before, change.now) for change in changes] == [
        ("b", "1", "2"),
        ("c", "1", None),
        ("d", None, "1"),
    ]


def test_the_page_shows_them(founding):
    """One mark a run, the same in words, and the table of changes; without extras none of it."""
    cluster = founding.clusters[0]
    extras = Extras(
        history={(cluster.rule, cluster.subject): past(0, 0, 5)},
        baseline={**founding.environment.packages, "stepaudit": "0.1.0", "torch": "2.12.0"},
        baseline_name="the run before, 2026-11-03",
    )
    text = page_text(founding, extras=extras)
    assert 'aria-label="1 of the last 3 runs broke it"' in text
    assert '<i class="g"></i><i class="g"></i><i class="b"></i>' in text
    assert "in the last 2 runs, since 2026-11-03" in text
    assert "<td>2.12.0</td><td>2.13.0</td>" in text
    plain = page_text(founding)
    assert 'class="spark"' not in plain
    assert "What changed" not in plain


def test_what_subjects_can_be_asked_for(founding):
    """A feature is audited, unsupported with its reason, or has known deviations with their reports upstream."""
    from stepaudit.reports.extras import Asked

    columns = {
        "hf": (
            Asked(feature="drop_last"),
            Asked(feature="max_steps = 0", known=(("hf-zero", "https://x.org/1"),)),
        ),
        "own": (
            Asked(feature="drop_last", reason="it reads no <b>drop_last</b>"),
            Asked(feature="max_steps = 0"),
        ),
    }
    text = page_text(founding, extras=Extras(capabilities=columns))
    table = text.partition('id="capabilities"')[2].partition("</table>")[0]
    assert re.findall(r'<th scope="(?:row|col)">(.*?)</th>', table) == [
        "feature",
        "hf",
        "own",
        "drop_last",
        "max_steps = 0",
    ]
    assert "it reads no &lt;b&gt;drop_last&lt;/b&gt;" in table
    assert '<code>hf-zero</code> <a href="https://x.org/1"' in table
    assert table.count(" audited<") == 2
    assert "Not in the table: unsloth-zoo@2024.10.0," in text.partition(table)[2]
    assert 'id="capabilities"' not in page_text(founding)
