"""What one label token weighs in an update, by a contract."""

from __future__ import annotations

from ...scenarios import Scenario
from ..ledger import MicroBatch, Update
from .contracts import Contract, Reduction

__all__ = ["clip_factor", "rank_tokens", "token_weight", "window_weights"]

_CLIP_EPSILON = 1e-6
"""torch.nn.utils.clip_grad_norm_ divides by (norm + 1e-6)"""


def clip_factor(max_norm: float, total_norm: float) -> float:
    """What `clip_grad_norm_` multiplies a gradient with."""
    return min(1.0, max_norm / (total_norm + _CLIP_EPSILON))


def token_weight(
    contract: Contract, scenario: Scenario, update: Update, micro_batch: MicroBatch, *, rank: int = 0
) -> float:
    """Return the weight of each label token of a rank's micro-batch in its update; 0 where there is none to weigh.

    Over several ranks a mean of means is the mean over their micro-batches too: ranks average their gradients.
    """
    own = sum(micro_batch.label_tokens)
    divisor = {
        Reduction.TOKEN_MEAN: update.label_tokens,
        Reduction.TOKEN_MEAN_OF_RANKS: rank_tokens(update, rank) * scenario.ranks,
        Reduction.MEAN_OF_MEANS: own * len(update.window) * scenario.ranks,
        Reduction.MEAN_OVER_ACCUM: own * scenario.grad_accum * scenario.ranks,
    }[contract.reduction[scenario.loss_protocol]]
    return 1.0 / divisor if divisor else 0.0


def rank_tokens(update: Update, rank: int) -> int:
    """Return the label tokens of a window on one rank."""
    shares = (item.shares[rank] for item in update.window if rank < len(item.shares))
    return sum(sum(share.label_tokens) for share in shares)


def window_weights(contract: Contract, scenario: Scenario, update: Update) -> dict[int, float]:
    """Return the weight of one label token of each row of the window; rows without label tokens are left out."""
    weights: dict[int, float] = {}
    for rank, share in (place for micro_batch in update.window for place in enumerate(micro_batch.shares)):
        weight = token_weight(contract, scenario, update, share, rank=rank)
        for row, tokens in share.row_tokens:
            if tokens:
                weights[row] = weights.get(row, 0.0) + weight
    return weights
