"""A wrong weight names its cause from cosine and ratio: of seeded loops, whose fault is known."""

from __future__ import annotations

import re

import pytest
from cell_runs import books_of
from stepaudit.harness.contract import RULES
from stepaudit.scenarios import Scenario

PLAIN = {"rows": 9, "grad_accum": 2, "epochs": 1.0}
CASES = [
    ("times-accumulation", {}, 2.0, "division by the accumulation missing"),
    ("divided-twice", {}, 0.5, "divided by the accumulation twice"),
    ("divided-by-rows", {}, None, "divided by the rows of the window"),
    ("divisor-of-previous-window", {}, None, "the label tokens of the window before"),
    ("short-window-underscaled", {}, 0.5, "a window of 1 divided as if it had 2 micro-batches"),
    ("short-window-underscaled", {"rows": 13, "grad_accum": 4}, 0.75, "a window of 3 divided as if it had 4"),
]
NOT_WHOLE = [
    ("mean-of-means", "micro-batch means are averaged"),
    ("not-divided", "micro-batch means are summed"),
]


def text_of(fault: str, **changes) -> str:
    books = books_of(f"fault@{fault}", Scenario(**(PLAIN | changes)))
    (finding,) = RULES["weight"].judge(books)
    return finding.text


@pytest.mark.parametrize("clips", [0.0, 0.05])
@pytest.mark.parametrize(("fault", "changes", "ratio", "cause"), CASES)
def test_a_gradient_that_is_too_long_or_too_short_as_a_whole(fault, changes, ratio, cause, clips):
    """The cosine is 1, the ratio is that of the fault, and it is named, whether the loop clips or not."""
    text = text_of(fault, **changes, max_grad_norm=clips)
    assert "(cosine 1.000000)" in text
    assert cause in text
    said = float(re.search(r"gradient = ([\d.]+) ×", text)[1])
    assert ratio is None or said == pytest.approx(ratio, rel=1e-5)


@pytest.mark.parametrize(("fault", "cause"), NOT_WHOLE)
def test_a_gradient_that_points_elsewhere(fault, cause):
    """The cosine is below 1, and the reduction that explains every weight is named."""
    text = text_of(fault, rows=13, grad_accum=3, shuffle=False)
    cosine = float(re.search(r"cosine ([\d.]+)", text)[1])
    assert 0 < cosine < 1
    assert cause in text


@pytest.mark.parametrize("fault", ["row-means", "first-micro-batch-twice", "labels-shifted-twice"])
def test_what_nothing_explains_is_not_named(fault):
    """Cosine and ratio stand there, and no cause is made up."""
    text = text_of(fault)
    assert "cosine" in text
    assert "divi" not in text.partition("cosine")[2]


def test_equal_lengths_do_not_hide_the_ratio():
    """With rows of one length a sum of means is A times a token mean: both readings are the same fault."""
    text = text_of("not-divided", rows=8, lengths="equal")
    assert "gradient = 2 × the expected one (cosine 1.000000): division by the accumulation missing" in text
