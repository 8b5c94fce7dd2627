"""Probe on optimizers: updates, suppressed updates, zeroed gradients, clipping. By torch's own global hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from ..ledger import Clipped, GradsZeroed, OptimizerStep
from ..workloads.workload import Workload
from .patches import replaced
from .recorder import Recorder

__all__ = ["watch_optimizers"]


@contextmanager
def watch_optimizers(recorder: Recorder, model: nn.Module, workload: Workload) -> Iterator[None]:
    """Record what any optimizer over parameters of `model` does."""
    probe = _Probe(recorder, model, workload)
    with ExitStack() as stack:
        recorder.followers.append(probe.follow)
        stack.callback(recorder.followers.remove, probe.follow)
        stack.callback(register_optimizer_step_pre_hook(probe.before_update).remove)
        stack.callback(register_optimizer_step_post_hook(probe.after_update).remove)
        stack.enter_context(replaced(Optimizer, "zero_grad", probe.zeroing_optimizer))
        stack.enter_context(replaced(nn.Module, "zero_grad", probe.zeroing_module))
        stack.enter_context(replaced(clip_grad, "_clip_grads_with_norm_", probe.clipping))
        stack.enter_context(replaced(torch.amp.grad_scaler.GradScaler, "step", probe.scaling))
        yield


@dataclass(frozen=True, kw_only=True, slots=True)
class _Gradient:
    norm: float | None
    weights: dict[int, float] | None
    residual: float | None = None


class _Probe:
    def __init__(self, recorder: Recorder, model: nn.Module, workload: Workload) -> None:
        self._recorder = recorder
        self._workload = workload
        self.follow(model)
        self._pending: dict[int, tuple[_Gradient, tuple[float, ...]]] = {}
        self._updates = 0
        self._loss_scale: float | None = None

    def follow(self, model: nn.Module) -> None:
        """Watch the optimizers over the parameters of this model, and weigh its gradient."""
        self._model = model
        self._parameters = {id(parameter) for parameter in model.parameters()}

    def before_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        """Note rates and gradient before the update; where a closure computes the gradient, after the closure."""
        if not self._is_watched(optimizer):
            return None
        self._note(optimizer)
        # The hook's args begin with the optimizer itself; a closure is the argument after it.
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            return None

        def noted_closure() -> Any:
            result = closure()
            self._note(optimizer)
            return result

        return (args[0], noted_closure), {key: value for key, value in kwargs.items() if key != "closure"}

    def after_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Append the update, now that it has run."""
        del args, kwargs
        noted = self._pending.pop(id(optimizer), None)
        if noted is None:
            return
        found_inf = getattr(optimizer, "found_inf", None)
        self._append(*noted, suppressed=found_inf is not None and bool(float(found_inf)))

    def scaling(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """A scaler that finds infinities never calls the optimizer: that attempt is a skipped step."""

        def watched(scaler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            before = self._updates
            self._loss_scale = float(scaler.get_scale()) if scaler.is_enabled() else None
            inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps the torch optimizer
            rates = tuple(float(group["lr"]) for group in inner.param_groups)
            result = original(scaler, optimizer, *args, **kwargs)
            if self._updates == before and self._is_watched(inner):
                self._append(_Gradient(norm=None, weights=None), rates, suppressed=True)
            self._loss_scale = None
            return result

        return watched

    def zeroing_optimizer(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Record `optimizer.zero_grad()`."""

        def zero_grad(optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
            if self._is_watched(optimizer):
                self._recorder.append(GradsZeroed())
            return original(optimizer, *args, **kwargs)

        return zero_grad

    def zeroing_module(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Record `model.zero_grad()`, also through a wrapper that holds the model."""

        def zero_grad(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if any(id(parameter) in self._parameters for parameter in module.parameters()):
                self._recorder.append(GradsZeroed())
            return original(module, *args, **kwargs)

        return zero_grad

    def clipping(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Record the norm that clipping found, where every clip by norm of torch passes through."""

        def clip(parameters: Any, max_norm: Any, total_norm: Tensor, *args: Any, **kwargs: Any) -> Any:
            listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
            if any(id(parameter) in self._parameters for parameter in listed):
                self._recorder.append(Clipped(max_norm=float(max_norm), total_norm=float(total_norm)))
            return original(listed, max_norm, total_norm, *args, **kwargs)

        return clip

    def _append(self, gradient: _Gradient, rates: tuple[float, ...], *, suppressed: bool) -> None:
        self._updates += 1
        self._recorder.append(
            OptimizerStep(
                learning_rates=rates,
                grad_norm=gradient.norm,
                weights=gradient.weights,
                suppressed=suppressed,
                residual=gradient.residual,
                loss_scale=self._loss_scale,
            )
        )

    def _note(self, optimizer: Optimizer) -> None:
        gradients = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        norm = float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0
        rates = tuple(float(group["lr"]) for group in optimizer.param_groups)
        weighing = self._workload.weigh(self._model, self._recorder.window_rows())
        # A fused optimizer is handed the gradient still scaled, and the scale beside it.
        scale = getattr(optimizer, "grad_scale", None)
        divisor = 1.0 if scale is None else float(scale)
        weights = weighing.weights
        if weights is not None and divisor != 1.0:
            weights = {row: weight / divisor for row, weight in weights.items()}
        self._pending[id(optimizer)] = (
            _Gradient(norm=norm / divisor, weights=weights, residual=weighing.residual),
            rates,
        )

    def _is_watched(self, optimizer: Any) -> bool:
        return any(
            id(parameter) in self._parameters
            for group in optimizer.param_groups
            for parameter in group["params"]
        )
