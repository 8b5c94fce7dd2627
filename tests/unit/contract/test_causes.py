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


def text_of_window(weights: dict[int, float], *tokens: int, accum: int | None = None) -> str:
    """What is said of a window of one row a micro-batch, with so many label tokens and these weights."""
    events: list = [EpochBegan(epoch=0)]
    for number, count in enumerate(tokens):
        events += micro_batch(number, [number], [count])
    shape = {"rows": len(tokens), "grad_accum": accum or len(tokens), "epochs": 1.0}
    return finding("weight", books([*events, *update(weights)], **shape)).text


@pytest.mark.parametrize("tokens", [(1,), (2,), (4, 2), (3, 1, 2)])
@pytest.mark.parametrize("accum", [None, 4])
def test_a_gradient_that_is_off_by_rounding_has_no_cause(tokens, accum):
    """Half a part in a million: nothing was divided by 1, nor taken for 1."""
    N = sum(tokens)
    weights = dict.fromkeys(range(len(tokens)), (1 + 0.5e-6) / N)
    assert text_of_window(weights, *tokens, accum=accum).endswith("(cosine 1.000000)")


def test_two_tokens_that_are_summed():
    """A window of two: twice as much, and the accumulation has no part in it."""
    text = text_of_window({0: 1.0}, 2)
    assert text.endswith(
        ": token losses are summed, no division at all or divided by the rows of the window, not by its label tokens"
    )


def test_a_whole_window_has_one_cause_for_its_accumulation():
    """W = A: the division by the window's micro-batches is that by the accumulation."""
    assert text_of_window({0: 2 / 6, 1: 2 / 6}, 4, 2).endswith(": division by the accumulation missing")


@pytest.mark.parametrize(
    ("weights", "tokens", "accum"),
    [
        ({0: 3 / 12, 1: 2 / 12, 2: 4 / 12}, (4, 4, 4), None),  # the ratio is 3, and one row has it
        ({0: 1 / 8, 1: 0.3}, (4, 2), None),  # one row weighs what a mean of means gives it
        ({0: 1 / 4, 1: 0.3}, (4, 2), None),  # one row weighs what a sum of means gives it
        ({0: 1.0}, (2000, 1), None),  # one row is missing, however little of the gradient it is
    ],
)
def test_what_one_row_says_is_no_cause(weights, tokens, accum):
    """All rows must say it."""
    text = text_of_window(weights, *tokens, accum=accum)
    assert re.search(r"the expected one \(cosine [\d.]+\)$", text)


def test_a_sum_of_means_in_a_short_window():
    """1 / n for every token of two micro-batches where three are a window: nothing was divided by either."""
    assert text_of_window({0: 1 / 4, 1: 1 / 2}, 4, 2, accum=3).endswith(
        ": micro-batch means are summed, the division by the accumulation is missing"
    )


def test_a_row_in_two_micro_batches_has_the_tokens_of_both():
    """Row 0 with 4 and 2 tokens, row 1 with 4: at 2 / 10 and nothing."""
    events = [EpochBegan(epoch=0), *micro_batch(0, [0], [4]), *micro_batch(1, [0, 1], [2, 4])]
    cell = books([*events, *update({0: 2 / 10})], rows=2, per_device_batch_size=2, grad_accum=2, epochs=1.0)
    want, have = (6 * 2, 4 * 1), (6 * 2, 0)
    cosine = (want[0] * have[0]) / ((want[0] ** 2 + want[1] ** 2) ** 0.5 * have[0])
    assert f"(cosine {cosine:.6f})" in finding("weight", cell).text
