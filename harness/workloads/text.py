"""Default training text: prompt and answer pairs made from the Python reference that ships with CPython.

No download and no file of our own: ``pydoc_data.topics`` is part of the standard library. A pair is two
neighbouring paragraphs of one topic; the first, under the topic's name, is the prompt and carries no label.
Tokens are UTF-8 bytes. The pairs depend on the Python release, because the reference does.
"""

from __future__ import annotations

import itertools
import random
import re
from functools import cache
from typing import Final

import torch
from torch import Tensor
from torch.utils.data import Dataset

IGNORE_INDEX: Final = -100
BEGIN: Final = 256
"""First token of every row."""
ANSWER: Final = 257
"""Between prompt and answer."""
END: Final = 258
"""Last token of an answer that was not cut."""
PAD: Final = 259
"""Padding; in no row."""
VOCAB_SIZE: Final = 260
"""256 bytes and the four tokens above."""

_SHORTEST: Final = 20


@cache
def text_pairs() -> tuple[tuple[str, str], ...]:
    """All prompts and answers, in the order of the topics' names."""
    from pydoc_data.topics import topics

    pairs = []
    for name, text in sorted(topics.items()):
        blocks = (re.sub(r"\s+", " ", block).strip() for block in re.split(r"\n\s*\n", text))
        paragraphs = [block for block in blocks if len(block) >= _SHORTEST]
        pairs += [(f"{name}: {prompt}", answer) for prompt, answer in itertools.pairwise(paragraphs)]
    return tuple(pairs)


def encode(text: str) -> list[int]:
    """Bytes of the text as tokens 0 to 255."""
    return list(text.encode())


def decode(tokens: list[int]) -> str:
    """Text of the byte tokens; the four special tokens are left out."""
    return bytes(token for token in tokens if token < BEGIN).decode(errors="replace")


class TextPairs(Dataset[dict[str, Tensor]]):
    """Rows of prompt and answer.

    Args:
        rows: How many rows.
        max_length: Tokens of the longest row; at most half of them are prompt (its end is kept), a longer
            answer is cut. At least 4: begin, a byte of the prompt, the divider and a byte of the answer.
        seed: Which pairs, and in which order.

    Raises:
        ValueError: More rows than there are pairs, or no room for a prompt and an answer.
    """

    def __init__(self, rows: int, max_length: int, seed: int = 0) -> None:
        available = text_pairs()
        if not 1 <= rows <= len(available):
            raise ValueError(f"rows must be from 1 to {len(available)} (the pairs there are), got {rows}")
        if max_length < 4:
            raise ValueError(f"max_length must be at least 4, got {max_length}")
        self._pairs = random.Random(seed).sample(available, rows)
        self._max_length = max_length

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        """``input_ids`` and ``labels`` of a row, (L,) int64, L at most ``max_length``; prompts are -100."""
        if not 0 <= row < len(self._pairs):
            raise IndexError(f"row {row} of {len(self._pairs)}")
        prompt, answer = self._pairs[row]
        head = [BEGIN, *encode(prompt)[-max(self._max_length // 2 - 2, 1) :], ANSWER]
        tokens = [*head, *encode(answer), END][: self._max_length]
        input_ids = torch.tensor(tokens)
        labels = input_ids.clone()
        labels[: len(head)] = IGNORE_INDEX
        return {"input_ids": input_ids, "labels": labels}
