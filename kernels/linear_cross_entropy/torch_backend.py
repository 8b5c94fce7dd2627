"""Fused head and loss in torch: same functions as `triton_backend`.

Shape suffixes: T tokens, C tokens of a chunk, H hidden, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..cross_entropy.options import LossOptions
from ..cross_entropy.torch_backend import loss_rows_
from .gradients import Gradients

# 2²³ logits a chunk (32 MiB in float32). Measured with one AVX-512 core at V = 32,000, H = 128: the three matrix
# products take 850 ms per 2,048 tokens in chunks of 32, 680 at 64, 570 at 256 (this value) and 560 unchunked.
CHUNK_ELEMENTS = 1 << 23


def linear_cross_entropy(
    hidden_TH: Tensor,
    weight_VH: Tensor,
    labels_T: Tensor,
    bias_V: Tensor | None,
    options: LossOptions,
    chunk_tokens: int,
    gradients: Gradients,
) -> Tensor:
    """Summed loss; fills `gradients` with those of the summed loss. Ignored rows cost nothing."""
    wide = torch.promote_types(hidden_TH.dtype, torch.float32)
    if hidden_TH.dtype is torch.float16 and not hidden_TH.is_cuda:
        # Processors without float16 arithmetic take 20 times as long over its products as over float32's.
        hidden_TH, weight_VH = hidden_TH.float(), weight_VH.float()
    total = torch.zeros((), dtype=wide, device=hidden_TH.device)
    rows_T = labels_T.ne(options.ignore_index).nonzero().squeeze(1)
    count, vocabulary = rows_T.numel(), weight_VH.shape[0]
    if not count:
        return total
    everything = count == labels_T.numel()
    chunk_rows = min(count, chunk_tokens or max(1, CHUNK_ELEMENTS // vocabulary))
    logits_CV = hidden_TH.new_empty(chunk_rows, vocabulary)
    scratch_CV = (
        logits_CV if logits_CV.dtype == wide else logits_CV.new_empty(chunk_rows, vocabulary, dtype=wide)
    )
    for start in range(0, count, chunk_rows):
        rows = slice(start, start + chunk_rows) if everything else rows_T[start : start + chunk_rows]
        hidden_CH = hidden_TH[rows]
        size = hidden_CH.shape[0]
        logits, z_CV = logits_CV[:size], scratch_CV[:size]
        torch.mm(hidden_CH, weight_VH.t(), out=logits)
        if z_CV.dtype != logits.dtype:
            z_CV.copy_(logits)
        if bias_V is not None:
            z_CV.add_(bias_V)
        losses_C, _ = loss_rows_(z_CV, labels_T[rows], options, gradient=gradients.wanted)
        total += losses_C.sum()
        if gradients.wanted:
            gradients.add(rows, z_CV, logits, hidden_CH, weight_VH)
    return total
