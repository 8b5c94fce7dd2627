"""Since when: what the versions that ran can say, and no more."""

import pytest
from stepaudit.reports.versions import lineages
from stepaudit.scenarios import Scenario

POINT = Scenario(rows=60, grad_accum=4, max_steps=8)


def run(verdicts, versions):
    """Return a run of `loop@V` for every version, wrong where its value is True."""
    cells = [
        verdicts.overrun(f"loop@{version}", POINT, number, 16, 40)
        if wrong
        else verdicts.cell(f"loop@{version}", POINT, number)
        for number, (version, wrong) in enumerate(versions.items())
    ]
    return verdicts.verdict_of(cells, stale=[])


@pytest.mark.parametrize(
    ("versions", "text"),
    [
        (
            {"2026.10.5": True, "2024.10.0": True, "2026.10.6": False},
            "since 2024.10.0 or earlier (no older version ran), up to 2026.10.5; right from 2026.10.6 on",
        ),
        (
            {"1.9": False, "1.10": True},
            "since 1.10; 1.9 was right; still wrong in 1.10, the newest version that ran",
        ),
        (
            {"1": True, "2": False, "3": True, "4": False},
            "since 1 or earlier (no older version ran), up to 3 (but not in 2); right from 4 on",
        ),
    ],
)
def test_since_when(verdicts, versions, text):
    """Versions are compared as versions, and what no version that ran can tell is said as such."""
    (found,) = lineages(run(verdicts, versions))
    assert found.name == "loop"
    assert found.text == text


def test_one_version_says_nothing(verdicts):
    """Nor do versions that are all right, and names after an @ that are no versions."""
    assert lineages(run(verdicts, {"1": True})) == []
    assert lineages(run(verdicts, {"1": False, "2": False})) == []
    assert lineages(run(verdicts, {"never-zeroes": True, "not-divided": True})) == []
