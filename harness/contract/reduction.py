"""What one label token weighs in an update, by a contract."""

from __future__ import annotations

from ...scenarios import Scenario
from ..ledger import MicroBatch, Update
from .contracts import Contract, Reduction

__all__ = ["clip_factor", "token_weight", "window_weights"]

_CLIP_EPSILON = 1e-6
"""torch.nn.utils.clip_grad_norm_ divides by (norm + 1e-6)"""


def clip_factor(max_norm: float, total_norm: float) -> float:
    """What `clip_grad_norm_` multiplies a gradient with."""
    return min(1.0, max_norm / (total_norm + _CLIP_EPSILON))


def token_weight(contract: Contract, scenario: Scenario, update: Update, micro_batch: MicroBatch) -> float:
    """Return the weight of each label token of one micro-batch in its update; 0 where there is no token to weigh."""
    own = sum(micro_batch.label_tokens)
    divisor = {
        Reduction.TOKEN_MEAN: update.label_tokens,
        Reduction.MEAN_OF_MEANS: own * len(update.window),
        Reduction.MEAN_OVER_ACCUM: own * scenario.grad_accum,
    }[contract.reduction[scenario.loss_protocol]]
    return 1.0 / divisor if divisor else 0.0


def window_weights(contract: Contract, scenario: Scenario, update: Update) -> dict[int, float]:
    """Return the weight of one label token of each row of the window; rows without label tokens are left out."""
    weights: dict[int, float] = {}
    for micro_batch in update.window:
        weight = token_weight(contract, scenario, update, micro_batch)
        for row, tokens in zip(micro_batch.rows, micro_batch.label_tokens, strict=True):
            if tokens:
                weights[row] = weights.get(row, 0.0) + weight
    return weights
