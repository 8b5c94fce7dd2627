"""Probe on learning-rate schedulers: every advance, on the class (checkpoints pickle instances)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch.optim.lr_scheduler import LRScheduler

from ..ledger import SchedulerStep
from .patches import replaced
from .recorder import Recorder

__all__ = ["watch_schedulers"]


@contextmanager
def watch_schedulers(recorder: Recorder) -> Iterator[None]:
    """Record every advance of every scheduler.

    The one in a constructor, and those that one scheduler makes inside another, are not advances of their own.
    """
    depth = 0

    def nested(original: Callable[..., Any]) -> Callable[..., Any]:
        def initial(scheduler: LRScheduler) -> Any:
            nonlocal depth
            depth += 1
            try:
                return original(scheduler)
            finally:
                depth -= 1

        return initial

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def advance(scheduler: LRScheduler, *args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            depth += 1
            try:
                result = original(scheduler, *args, **kwargs)
            finally:
                depth -= 1
            if depth == 0:
                groups = scheduler.optimizer.param_groups
                recorder.append(SchedulerStep(learning_rates=tuple(float(group["lr"]) for group in groups)))
            return result

        return advance

    with ExitStack() as stack:
        stack.enter_context(replaced(LRScheduler, "_initial_step", nested))
        for kind in (LRScheduler, *_subclasses(LRScheduler)):
            if "step" in kind.__dict__:
                stack.enter_context(replaced(kind, "step", counted))
        yield


def _subclasses(kind: type[LRScheduler]) -> Iterator[type[LRScheduler]]:
    subclass: type[LRScheduler]
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
