"""Language-model head and cross entropy in one op, without the logits."""

from .op import fused_linear_cross_entropy

__all__ = ["fused_linear_cross_entropy"]
