"""A wrong weight names its cause from cosine and ratio: of seeded loops, whose fault is known."""

from __future__ import annotations

import re

import pytest
from cell_runs import books_of
from stepaudit.harness.contract import RULES
from stepaudit.harness.ledger import EpochBegan
from stepaudit.scenarios import Scenario
from written_ledgers import books, finding, micro_batch, update

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
    (found,) = RULES["weight"].judge(books_of(f"fault@{fault}", Scenario(**(PLAIN | changes))))
    return found.text


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


WHOLE = [
    (4, "division by the accumulation missing"),
    (1 / 4, "divided by the accumulation twice"),
    (2, "division by the window's micro-batches missing"),
    (
        1 / 2,
        "divided by the window's micro-batches twice or a window of 2 divided as if it had 4 micro-batches",
    ),
    (6, "token losses are summed, no division at all"),
    (3, "divided by the rows of the window, not by its label tokens"),
]


@pytest.mark.parametrize(("ratio", "cause"), WHOLE)
@pytest.mark.parametrize("off", [0.0, 0.7e-6])
def test_a_ratio_and_its_causes(ratio, cause, off):
    """Two micro-batches of 4 and 2 label tokens, A = 4: all causes that give the ratio are named, to float32."""
    weight = ratio * (1 + off) / 6
    events = [EpochBegan(epoch=0), *micro_batch(0, [0], [4]), *micro_batch(1, [1], [2])]
    cell = books([*events, *update({0: weight, 1: weight})], rows=2, grad_accum=4, epochs=1.0)
    text = finding("weight", cell).text
    assert text.endswith(f"gradient = {ratio:.6g} × the expected one (cosine 1.000000): {cause}")


@pytest.mark.parametrize("ratio", [5, 4 * (1 + 3e-6), 0.3])
def test_a_ratio_without_a_cause(ratio):
    """It stands there, and nothing is made of it."""
    events = [EpochBegan(epoch=0), *micro_batch(0, [0], [4]), *micro_batch(1, [1], [2])]
    cell = books([*events, *update({0: ratio / 6, 1: ratio / 6})], rows=2, grad_accum=4, epochs=1.0)
    assert finding("weight", cell).text.endswith("(cosine 1.000000)")


def test_the_window_before_is_the_one_before():
    """Windows of 4, 4 and 6 label tokens: the third divided by 4."""
    events = [EpochBegan(epoch=0)]
    for number, (tokens, weight) in enumerate([(4, 1 / 4), (4, 1 / 4), (6, 1 / 4)]):
        events += [*micro_batch(number, [number], [tokens]), *update({number: weight})]
    assert (
        "the label tokens of the window before" in finding("weight", books(events, rows=3, epochs=1.0)).text
    )


def test_one_micro_batch_without_accumulation_has_few_causes():
    """A = W = 1 divides nothing away: a gradient that is N times too long was not divided at all."""
    events = [EpochBegan(epoch=0), *micro_batch(0, [0], [4]), *update({0: 1.0})]
    text = finding("weight", books(events, rows=1, epochs=1.0)).text
    assert text.endswith(
        "gradient = 4 × the expected one (cosine 1.000000): token losses are summed, no division at all "
        "or divided by the rows of the window, not by its label tokens"
    )


def test_a_gradient_of_nothing_has_no_direction():
    """No cosine, no ratio, no cause."""
    events = [EpochBegan(epoch=0), *micro_batch(0, [0], [4]), *update({})]
    assert "cosine" not in finding("weight", books(events, rows=1, epochs=1.0)).text


def test_the_cosine_is_that_of_the_gradients():
    """Label tokens times weights, row by row: (4, 0) beside (4, 2) at 1/6 a token."""
    events = [EpochBegan(epoch=0), *micro_batch(0, [0], [4]), *micro_batch(1, [1], [2])]
    cell = books([*events, *update({0: 1 / 6})], rows=2, grad_accum=2, epochs=1.0)
    assert "gradient = 0.8 × the expected one (cosine 0.894427)" in finding("weight", cell).text
