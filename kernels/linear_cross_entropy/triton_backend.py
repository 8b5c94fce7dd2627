"""Fused head and loss on a GPU: cuBLAS products around the Triton cross entropy, chunk by chunk.

Shape suffixes: T tokens, C tokens of a chunk, H hidden, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..cross_entropy.options import LossOptions
from ..cross_entropy.triton_backend import cross_entropy_backward_, row_losses
from .gradients import Gradients

# 2²⁸ logits a chunk (512 MiB in half precision), 2,048 tokens at a vocabulary of 128k: each chunk adds to the
# float32 gradient of the head, which is 2 GiB at hidden 4,096, so chunks must be few.
CHUNK_ELEMENTS = 1 << 28


def linear_cross_entropy(
    hidden_TH: Tensor,
    weight_VH: Tensor,
    labels_T: Tensor,
    bias_V: Tensor | None,
    options: LossOptions,
    chunk_tokens: int,
    gradients: Gradients,
) -> Tensor:
    """Summed loss; fills `gradients` with those of the summed loss. Nothing synchronises with the device."""
    rows, vocabulary = hidden_TH.shape[0], weight_VH.shape[0]
    total = torch.zeros((), dtype=torch.float32, device=hidden_TH.device)
    one = torch.ones((), dtype=torch.float32, device=hidden_TH.device)
    chunk_rows = min(max(1, rows), chunk_tokens or max(1, CHUNK_ELEMENTS // vocabulary))
    logits_CV = hidden_TH.new_empty(chunk_rows, vocabulary)
    for start in range(0, rows, chunk_rows):
        chunk = slice(start, start + chunk_rows)
        hidden_CH, labels_C = hidden_TH[chunk], labels_T[chunk]
        logits = logits_CV[: hidden_CH.shape[0]]
        torch.mm(hidden_CH, weight_VH.t(), out=logits)
        if bias_V is not None:
            logits.add_(bias_V)
        losses_C, lse_C = row_losses(logits, labels_C, options)
        total += losses_C.sum()
        if gradients.wanted:
            cross_entropy_backward_(one, logits, labels_C, lse_C, options)
            gradients.add(chunk, logits, logits, hidden_CH, weight_VH)
    return total
