"""summary.md: failures first, never too long for GitHub, and hostile text is text."""

import re

from stepaudit.reports.markdown import MOST_BYTES, summary_text


def test_order(founding):
    """The verdict is the first line, evidence comes before what to read later."""
    text = summary_text(founding)
    places = [
        text.index(part)
        for part in (
            "FAILED",
            "## Deviations",
            "`target`",
            "## Not judged",
            "## Known deviations\n",
            "## Env",
        )
    ]
    assert places == sorted(places)
    assert text.startswith("# ✗ FAILED: unsloth\\-zoo&#64;2024.10.0 and")


def test_evidence(founding):
    """A cluster shows expected, got, formula, divergence and a line to copy."""
    text = summary_text(founding)
    assert "| expected | `8 optimizer steps` |" in text
    assert "| got | `16 optimizer steps` |" in text
    assert "`T = max_steps = 8 (max_steps > 0 overrides epochs)`" in text
    assert re.search(r"Reproduce with:\n\n```text\nstepaudit replay \w+\n```", text)


def test_many_cells_fit(large):
    """The page stays below 200 KiB and says what was cut."""
    text = summary_text(large(12_000))
    assert len(text.encode()) <= MOST_BYTES
    assert "Cut to keep this page below 200 KiB" in text
    assert "## Environment" in text


def test_a_small_budget_keeps_the_worst(founding):
    """Cutting starts at the end: the first cluster stays, and what is missing is counted."""
    text = summary_text(founding, most_bytes=5000)
    assert len(text.encode()) <= 5000
    assert "`target`" in text
    assert re.search(r"\d of 6 under “Deviations”", text)


def test_hostile_text_stays_text(hostile):
    """Outside code spans and fences there is no tag, mention, link or emphasis that a stranger wrote."""
    text = summary_text(hostile)
    prose = re.sub(r"(?ms)^(`{3,})text\n.*?^\1$", "", text)
    prose = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", prose)
    tags = set(re.findall(r"<[^>]*>", prose)) - {"<details>", "<summary>", "</summary>", "</details>"}
    assert not tags
    assert "@" not in prose
    prose = prose.replace("Exit code **1**", "")
    assert not re.search(r"(?<!\\)\*\*|(?<!\\)\]\(", prose)
    assert "\x00" not in text
