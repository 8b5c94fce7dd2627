"""`run --suite` with a museum, and `timeline`: real cells of seeded loops, and what is wrong with a request."""

from __future__ import annotations

import pytest

MUSEUM = """
schema = 1
title = "Seeded loops"

[[exhibit]]
id = "epochs-multiply"
project = "seeded"
title = "max_steps is multiplied by the epochs that it takes"
rule = "target"
bad = "fault@{fault}"
fixed = "plain"
scenario = {{ rows = 8, max_steps = 6 }}
got = "{got}"
story = "What the published diagnosis says."
upstream = "https://github.com/unslothai/unsloth/issues/1163"
"""
FAULT = "epochs-times-max-steps"


def test_an_exhibit_is_confirmed_and_then_it_drifts(stepaudit, quick):
    """Bad and fixed really run; the report has its section; `check` judges by the run's own exhibits; a drift fails."""
    stepaudit.write("mine.toml", MUSEUM.format(fault=FAULT, got="12 optimizer steps"))
    done = stepaudit("run", "--suite", "mine.toml", *quick)
    assert done.code == 0, done.out + done.err
    assert "1 of 1 exhibits confirmed" in done.headline
    (exhibit,) = stepaudit.verdict()["museum"]
    assert exhibit["confirmed"]
    assert (exhibit["bad"]["optimizer_steps"], exhibit["fixed"]["optimizer_steps"]) == (12, 6)
    assert "max_steps is multiplied" in (stepaudit.folder / "stepaudit-out" / "report.html").read_text()
    assert "✓" in (stepaudit.folder / "stepaudit-out" / "museum.md").read_text()
    stepaudit.write("mine.toml", MUSEUM.format(fault=FAULT, got="13 optimizer steps"))
    assert stepaudit("check").code == 0
    again = stepaudit("run", "--suite", "mine.toml", *quick)
    assert again.code == 1
    assert "where the exhibit tells of 13 optimizer steps" in again.headline
    assert stepaudit.verdict()["counts"]["from_store"] == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["run", "--suite", "museum", "--axis", "rows=3"], "--axis does not go with a museum"),
        (
            ["run", "--suite", "museum", "--subject", "lightnin"],
            "no exhibit of 'lightnin'; did you mean 'lightning'",
        ),
        (
            ["timeline", "transformer", "--versions", "5.0.0"],
            "no timeline of 'transformer'; did you mean 'transformers'",
        ),
        (["timeline", "transformers", "--versions", ","], "--versions names no release"),
        (["timeline", "transformers", "--versions", "5.0.0,5.0.0"], "--versions names 5.0.0 twice"),
        (["timeline", "transformers", "--versions", "5.0.0", "--jobs", "0"], "--jobs must be at least 1"),
        (["timeline", "transformers", "--versions", "5.0.0", "--contract", "hf"], "did you mean 'hf-5'"),
        (["timeline", "transformers", "--versions", ">=5"], "'transformers==>=5' is not an exact release"),
    ],
)
def test_a_wrong_request_is_one_line(stepaudit, options, says):
    """With the value and the nearest name; nothing is written."""
    done = stepaudit(*options)
    assert done.code == 2
    assert says in done.error
    assert stepaudit.written() == set()
