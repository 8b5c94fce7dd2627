"""A model of a few numbers, whose gradients are known by hand, and rows for it."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

__all__ = ["Bigrams", "row_of"]

WORDS = 6


class Bigrams(nn.Module):
    """Logits of the next word from a table, in float64 unless asked otherwise; a bias that some rows do not reach."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.table = nn.Parameter(torch.randn(WORDS, WORDS, generator=generator).to(dtype))
        self.unused = nn.Parameter(torch.ones(2, dtype=dtype))

    def forward(self, input_ids, attention_mask, use_cache):
        assert not use_cache
        assert attention_mask.shape == input_ids.shape
        return SimpleNamespace(logits=self.table[input_ids])


def row_of(row: int) -> dict[str, torch.Tensor]:
    """Four words a row, all of them labels; row 9 has none, row 7 the second, row 8 the first, which none predicts."""
    words = torch.tensor([[row % WORDS, (row + 1) % WORDS, (row + 3) % WORDS, row % WORDS]])
    labels = words.clone()
    if row >= 7:
        labels[:] = -100
    if row == 7:
        labels[0, 1] = words[0, 1]
    if row == 8:
        labels[0, 0] = words[0, 0]
    return {"input_ids": words, "labels": labels, "attention_mask": torch.ones_like(words)}
