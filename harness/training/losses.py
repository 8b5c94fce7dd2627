"""How a model is asked for its loss, so that every label token of a window weighs the same."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .collation import MicroBatch


class LossProtocol(StrEnum):
    """What a model does with the window's token count."""

    HONOURED = "honoured"
    """``forward`` takes ``num_items_in_batch`` and divides the sum of the token losses by it."""

    MEAN = "mean"
    """``forward``, asked without the count, returns the mean over its own label tokens."""


def innermost(model: nn.Module) -> nn.Module:
    """The model inside PEFT's wrapper, or the model itself."""
    unwrap = getattr(model, "get_base_model", None)
    inner = unwrap() if callable(unwrap) else model
    assert isinstance(inner, nn.Module)
    return inner


def loss_protocol(model: nn.Module) -> LossProtocol:
    """Tell the protocol from the model's class.

    transformers' own models take ``**kwargs`` and hand them to a loss that honours the count. Any other class
    with ``**kwargs`` may heed it or not (``Trainer`` takes it to do so, and weights every window by its number of
    micro-batches where it does not). Asked without the count, both kinds return their own mean, so they are.

    Args:
        model: The model, possibly wrapped by PEFT.

    Returns:
        The protocol.
    """
    inner = innermost(model)
    stated = getattr(inner, "accepts_loss_kwargs", None)
    parameters = inspect.signature(type(inner).forward).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    if "num_items_in_batch" in parameters and stated is not False:
        return LossProtocol.HONOURED
    if not takes_any or stated is False:
        return LossProtocol.MEAN
    own = type(inner).__module__.startswith("transformers.")
    return LossProtocol.HONOURED if own or stated else LossProtocol.MEAN


@dataclass(frozen=True, kw_only=True, slots=True)
class LossCall:
    """Asks one model for losses.

    Attributes:
        model: The model.
        protocol: What it does with the token count.
        device: Where it is.
        fused: The model is a Llama with the fused kernels. It takes document bounds, and as it is causal, an
            attention mask that marks nothing but padding on the right changes no label token's loss: without it
            attention needs no mask at all.
        no_cache: The model's forward can be told not to build a key-value cache. Besides the memory, with one
            transformers' Llama takes packed documents for a single one.
    """

    model: nn.Module
    protocol: LossProtocol
    device: torch.device
    fused: bool
    no_cache: bool

    def __call__(self, batch: MicroBatch, *, divisor: int) -> Tensor | None:
        """One forward.

        Args:
            batch: The micro-batch.
            divisor: Label tokens of the whole window over all ranks, at least 1.

        Returns:
            Scalar: sum of the micro-batch's token losses over ``divisor``. None if the model takes means and
            the micro-batch has no label token: its mean does not exist, and it has nothing to add.

        Raises:
            TypeError: The model returned no loss.
        """
        inputs = self._inputs(batch)
        if self.protocol is LossProtocol.HONOURED:
            return _loss_of(
                self.model(**inputs, num_items_in_batch=torch.tensor(divisor, device=self.device)), self.model
            )
        if batch.label_tokens == 0:
            return None
        return _loss_of(self.model(**inputs), self.model) * (batch.label_tokens / divisor)

    def _inputs(self, batch: MicroBatch) -> dict[str, Any]:
        left_out = set() if self.fused else {"cu_seqlens"}
        if self.fused and batch.padding_only_right:
            left_out.add("attention_mask")
        inputs = {key: value for key, value in batch.inputs.items() if key not in left_out}
        if self.no_cache:
            inputs["use_cache"] = False
        return {
            key: value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value
            for key, value in inputs.items()
        }


def _loss_of(output: Any, model: nn.Module) -> Tensor:
    loss = getattr(output, "loss", None)
    if loss is None and isinstance(output, dict):
        loss = output.get("loss")
    if not isinstance(loss, Tensor) or loss.dim() != 0:
        raise TypeError(
            f"{type(model).__name__} returned no scalar loss for a batch with labels, "
            f"got {type(output).__name__} with loss={type(loss).__name__}"
        )
    return loss
