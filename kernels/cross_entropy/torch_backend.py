"""Cross entropy in torch: same functions as `triton_backend`.

Shape suffixes: T tokens, V vocabulary. Rows are worked off in blocks; on the CPU one vectorised softmax per
block is the only expensive pass, and it yields the probabilities and the log-sum-exp at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .options import LossOptions

_BLOCK_ELEMENTS = 1 << 21
# Below this a float32 probability has lost precision, and its logarithm with it.
_SMALLEST_PROBABILITY = 1e-30


def loss_rows_(
    z_TV: Tensor, labels_T: Tensor, options: LossOptions, *, gradient: bool
) -> tuple[Tensor, Tensor]:
    """Losses and log-sum-exps of rows whose labels all count; `z_TV` becomes its gradient, or scratch.

    Args:
        z_TV: Logits in float32 or float64, overwritten.
        labels_T: Labels, none of them ignored.
        options: Of the loss.
        gradient: Whether to leave the gradient of the summed loss in `z_TV`.

    Returns:
        Loss and log-sum-exp, `[T]` each.
    """
    vocabulary = z_TV.shape[1]
    if options.logit_scale != 1:
        z_TV.mul_(options.logit_scale)
    slope_TV = None
    if options.softcap:
        z_TV.div_(options.softcap).tanh_()
        if gradient:
            slope_TV = z_TV.square().neg_().add_(1)
        z_TV.mul_(options.softcap)
    index_T1 = labels_T.unsqueeze(1)
    picked_T1 = z_TV.gather(1, index_T1)
    top_T1 = z_TV.amax(-1, keepdim=True)
    mean_T1 = z_TV.mean(-1, keepdim=True) if options.label_smoothing else None
    torch.softmax(z_TV, -1, out=z_TV)
    p_label_T1 = z_TV.gather(1, index_T1)
    lse_T1 = picked_T1 - p_label_T1.log()
    faint_T1 = p_label_T1 < _SMALLEST_PROBABILITY
    if bool(faint_T1.any()):
        lse_T1 = torch.where(faint_T1, top_T1 - z_TV.amax(-1, keepdim=True).log(), lse_T1)
    loss_T1 = (lse_T1 - picked_T1).mul_(1 - options.label_smoothing)
    if mean_T1 is not None:
        loss_T1.add_(lse_T1 - mean_T1, alpha=options.label_smoothing)
    if options.z_loss:
        loss_T1.addcmul_(lse_T1, lse_T1, value=options.z_loss)
    if gradient:
        if options.z_loss:
            z_TV.mul_(lse_T1 * (2 * options.z_loss) + 1)
        if options.label_smoothing:
            z_TV.sub_(options.label_smoothing / vocabulary)
        z_TV.scatter_add_(1, index_T1, torch.full_like(picked_T1, options.label_smoothing - 1))
        if slope_TV is not None:
            z_TV.mul_(slope_TV)
        if options.logit_scale != 1:
            z_TV.mul_(options.logit_scale)
    return loss_T1.squeeze(1), lse_T1.squeeze(1)


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def cross_entropy_forward(logits_TV: Tensor, labels_T: Tensor, options: LossOptions) -> tuple[Tensor, Tensor]:
    """Summed loss and log-sum-exp `[T]` (0 where the label is ignored)."""
    wide = _wide(logits_TV)
    total = torch.zeros((), dtype=wide, device=logits_TV.device)
    lse_T = torch.zeros(labels_T.shape, dtype=wide, device=logits_TV.device)
    rows_T = labels_T.ne(options.ignore_index).nonzero().squeeze(1)
    chunk_rows = max(1, _BLOCK_ELEMENTS // max(1, logits_TV.shape[1]))
    for rows in torch.split(rows_T, chunk_rows) if rows_T.numel() else ():
        z_TV = logits_TV.index_select(0, rows).to(wide)
        loss_rows, lse_rows = loss_rows_(z_TV, labels_T[rows], options, gradient=False)
        total += loss_rows.sum()
        lse_T[rows] = lse_rows
    return total, lse_T


def cross_entropy_backward_(
    grad: Tensor, logits_TV: Tensor, labels_T: Tensor, lse_T: Tensor, options: LossOptions
) -> None:
    """Overwrite `logits` with `grad` times the gradient of the summed loss."""
    wide = _wide(logits_TV)
    counts_T = labels_T.ne(options.ignore_index)
    chunk_rows = max(1, _BLOCK_ELEMENTS // max(1, logits_TV.shape[1]))
    for start in range(0, logits_TV.shape[0], chunk_rows):
        block = slice(start, start + chunk_rows)
        logits, counts = logits_TV[block], counts_T[block]
        direct = logits.dtype == wide
        z_TV = logits if direct else logits.to(wide)
        loss_rows_(z_TV, labels_T[block].where(counts, 0), options, gradient=True)
        z_TV.mul_(grad)
        if not bool(counts.all()):
            z_TV[~counts] = 0
        if not direct:
            logits.copy_(z_TV)
