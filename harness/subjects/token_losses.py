"""The loss of every label, from what a model returned: for trainers whose own code computes the loss."""

from __future__ import annotations

from typing import Any

__all__ = ["token_losses"]


def token_losses(outputs: Any, labels: Any) -> Any:
    """Return the loss of every label: from the tracer, or by cross entropy from a model's logits.

    Args:
        outputs: of a forward; `token_losses` `[batch, length - 1]`, or `logits` `[batch, length, vocabulary]`.
        labels: `[batch, length]`, -100 where none is.
    """
    if hasattr(outputs, "token_losses"):
        return outputs.token_losses
    from torch.nn.functional import cross_entropy

    logits = outputs.logits[:, :-1].float()
    return cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="none")
