"""Datasets whose rows carry their id as token values, sized and unsized."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from ...scenarios import FirstLabel, Scenario
from ...scenarios.lengths import label_tokens_of_row, row_length

__all__ = [
    "EVAL_ROWS",
    "IGNORE_INDEX",
    "IterableRows",
    "OnFetch",
    "OnPass",
    "SizedRows",
    "pad_token",
    "row_tensors",
]

IGNORE_INDEX = -100
"""label value that no loss counts (torch.nn.functional.cross_entropy's default)"""

EVAL_ROWS = 2
"""rows of the evaluation dataset; their ids follow those of the training rows"""

Row = dict[str, Tensor]
OnFetch = Callable[..., None]
"""called with the row ids, and by an iterable dataset with the number of its pass too"""
OnPass = Callable[[], int]


def pad_token(scenario: Scenario) -> int:
    """The token id of padding: the first that is no row's."""
    return scenario.rows + EVAL_ROWS


def row_tensors(row: int, scenario: Scenario) -> Row:
    """Build one row of the tracer's data.

    Returns:
        `input_ids`, `labels`, `attention_mask`, each int64 `[length]`, all rows of one length, so that
        `torch.utils.data.default_collate` works; padding has label -100 and attention 0.
    """
    length, used = row_length(scenario), label_tokens_of_row(row, scenario.lengths) + 1
    input_ids = torch.full((length,), pad_token(scenario))
    input_ids[:used] = row
    labels = torch.full((length,), IGNORE_INDEX)
    labels[:used] = row
    if scenario.first_label is FirstLabel.MASKED:
        labels[0] = IGNORE_INDEX
    attention_mask = torch.zeros(length, dtype=torch.int64)
    attention_mask[:used] = 1
    return {"input_ids": input_ids, "labels": labels, "attention_mask": attention_mask}


class SizedRows(Dataset[Row]):
    """A map-style dataset over given rows; tells `on_fetch` which row ids leave it.

    `rows` is for a subject that has to make a dataset of another kind of them: nobody is told.
    """

    def __init__(self, rows: Sequence[Row], first_id: int, on_fetch: OnFetch) -> None:
        self.rows = rows
        self._first_id = first_id
        self._on_fetch = on_fetch

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self.rows):
            raise IndexError(f"row {index} of a dataset of {len(self.rows)} rows")
        self._on_fetch([self._first_id + index])
        return self.rows[index]

    def __getitems__(self, indices: Sequence[int]) -> list[Row]:
        """Fetch a micro-batch at once; torch's fetcher prefers this over single items."""
        rows = [self.rows[index] for index in indices]
        self._on_fetch([self._first_id + int(index) for index in indices])
        return rows


class IterableRows(IterableDataset[Row]):
    """The same rows without a length; every iterator is one pass and is told to `on_pass`."""

    def __init__(self, rows: Sequence[Row], first_id: int, on_fetch: OnFetch, on_pass: OnPass) -> None:
        self.rows = rows
        self._first_id = first_id
        self._on_fetch = on_fetch
        self._on_pass = on_pass

    def __iter__(self) -> Iterator[Row]:
        number = self._on_pass()
        for index, row in enumerate(self.rows):
            self._on_fetch([self._first_id + index], number)
            yield row
