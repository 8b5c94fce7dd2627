"""The default text: the same rows everywhere for one Python, prompts without labels."""

from __future__ import annotations

import pytest
from stepaudit.harness.workloads.text import (
    ANSWER,
    BEGIN,
    END,
    PAD,
    VOCAB_SIZE,
    TextPairs,
    decode,
    text_pairs,
)


def test_rows_are_prompt_and_answer_with_only_the_answer_labelled():
    """Labels begin right after the divider, equal the tokens there, and cover at least one byte."""
    data = TextPairs(50, 96, seed=1)
    for row in (data[at] for at in range(len(data))):
        tokens, labels = row["input_ids"].tolist(), row["labels"].tolist()
        cut = tokens.index(ANSWER) + 1
        assert tokens[0] == BEGIN
        assert labels == [-100] * cut + tokens[cut:]
        assert cut < len(tokens) <= 96
        assert cut <= 48
        assert PAD not in tokens
        assert max(tokens) < VOCAB_SIZE
        assert tokens[-1] == END or len(tokens) == 96


def test_rows_come_from_the_python_reference():
    """A row decodes to neighbouring paragraphs of one topic."""
    text = set(text_pairs())
    row = TextPairs(1, 10_000, seed=0)[0]
    tokens = row["input_ids"].tolist()
    at = tokens.index(ANSWER)
    assert (decode(tokens[:at]), decode(tokens[at:])) in text


def test_the_seed_picks_the_rows():
    """One seed, one set of rows; another seed, another."""
    first, again, other = TextPairs(8, 64, seed=3), TextPairs(8, 64, seed=3), TextPairs(8, 64, seed=4)
    tokens = [
        [row["input_ids"].tolist() for row in (data[at] for at in range(8))] for data in (first, again, other)
    ]
    assert tokens[0] == tokens[1] != tokens[2]


@pytest.mark.parametrize(
    ("rows", "length", "message"), [(0, 64, "got 0"), (10**6, 64, "got 1000000"), (1, 3, "got 3")]
)
def test_what_cannot_be_had_is_refused(rows, length, message):
    """More rows than pairs, or no room for an answer."""
    with pytest.raises(ValueError, match=message):
        TextPairs(rows, length)


def test_rows_end():
    """Iteration over the dataset ends, and a negative row is no row."""
    data = TextPairs(3, 32)
    assert len(list(data)) == 3
    with pytest.raises(IndexError):
        data[-1]
