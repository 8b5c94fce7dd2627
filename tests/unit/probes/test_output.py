"""Totals that a trainer only prints, read from real bars and banners; arbitrary text never raises."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepaudit.harness.probes import planned_from_output


@pytest.mark.parametrize(
    "settings", [{}, {"ncols": 60}, {"ascii": True}, {"desc": "Training"}, {"unit": "it"}]
)
@pytest.mark.parametrize("total", [1, 350, 12_345])
def test_a_real_bar(settings, total):
    """What tqdm draws, carriage returns included."""
    from tqdm import tqdm

    drawn = io.StringIO()
    with tqdm(total=total, file=drawn, **settings) as bar:
        bar.update(1)
    assert planned_from_output(drawn.getvalue())["bar"] == total


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("O^O/ \\_/ \\    Gradient accumulation steps = 4\n\\ /  Total batch size = 16 | Total steps = 350", 350),
        ("***** Running training *****\n  Num examples = 16\n  Total optimization steps = 1,000\n", 1000),
        ("  Total optimisation steps: 7", 7),
        ("\x1b[1mTotal steps = \x1b[32m42\x1b[0m", 42),
    ],
)  # fmt: skip
def test_real_banners(text, total):
    """Unsloth's and the Trainer's banner, colours or not."""
    assert planned_from_output(text) == {"banner": total}


def test_nothing_announced():
    """No total is no claim."""
    assert planned_from_output("loss 3/4 [ok] total 7") == {}


@given(st.text() | st.text(alphabet="|/[0123456789,=: \x1b\rTtotalsteps"))
def test_arbitrary_text_never_raises(text):
    """Values are integers, whatever was printed."""
    planned = planned_from_output(text)
    assert set(planned) <= {"banner", "bar"}
    assert all(type(total) is int for total in planned.values())


@pytest.mark.parametrize(
    "text", ["Total steps = ,", "Total steps = ,,,\n| 3/350 [", f"Total steps = {'9' * 5000}", "| 1/٣ ["]
)
def test_hostile_numbers(text):
    """Commas without digits, numbers beyond Python's limit, digits of other scripts: no claim, no exception."""
    planned_from_output(text)
