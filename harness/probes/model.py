"""Probe on the model: forwards with their rows, and backwards by hooks on the loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..ledger import Backward
from ..workloads.workload import Workload
from .recorder import Recorder

__all__ = ["watch_model"]

_COMPUTED_FROM = ("token_losses", "log_probs", "logits")
"""outputs that a trainer may compute its loss from: the tracer's, those of TRL's fused head, every model's"""


@contextmanager
def watch_model(recorder: Recorder, model: nn.Module, workload: Workload) -> Iterator[None]:
    """Record every forward of `model`, or of one that is adopted, and the backwards that reach its loss or outputs."""

    def after_forward(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        input_ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        sight = workload.identify(input_ids, kwargs.get("labels"), kwargs.get("attention_mask"))
        if not (module.training and torch.is_grad_enabled()):
            recorder.evaluated(sight.rows)
            return
        loss = _field(output, "loss")
        micro_batch = recorder.forward(
            rows=sight.rows,
            label_tokens=sight.label_tokens,
            input_tokens=sight.input_tokens,
            divisor=_number(kwargs.get("num_items_in_batch")),
            loss=None if loss is None else float(loss.detach()),
        )
        _watch_backward(recorder, micro_batch, loss, [_field(output, name) for name in _COMPUTED_FROM])

    handles: list[Any] = []

    def follow(watched: nn.Module) -> None:
        handles.append(watched.register_forward_hook(after_forward, with_kwargs=True))

    follow(model)
    recorder.followers.append(follow)
    try:
        yield
    finally:
        recorder.followers.remove(follow)
        for handle in handles:
            handle.remove()


def _watch_backward(
    recorder: Recorder, micro_batch: int, loss: Tensor | None, others: list[Tensor | None]
) -> None:
    """Hook the loss, and the outputs that a trainer may compute a loss of its own from.

    A backward through the loss reaches the outputs behind it too and counts once. A wrapper that passes all outputs
    through a function of its own (DistributedDataParallel) hands None to those that nobody used.
    """
    through_loss = False

    def loss_hook(gradient: Tensor | None) -> None:
        nonlocal through_loss
        if gradient is None:
            return
        through_loss = True
        recorder.append(Backward(micro_batch=micro_batch, scale=float(gradient)))

    def output_hook(gradient: Tensor | None) -> None:
        nonlocal through_loss
        if gradient is None:
            return
        if not through_loss:
            recorder.append(Backward(micro_batch=micro_batch, scale=None))
        through_loss = False

    if loss is not None and loss.requires_grad:
        loss.register_hook(loss_hook)
    for tensor in others:
        if tensor is not None and tensor.requires_grad:
            tensor.register_hook(output_hook)


def _field(output: Any, name: str) -> Tensor | None:
    value = output.get(name) if isinstance(output, dict) else getattr(output, name, None)
    return value if isinstance(value, Tensor) else None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
