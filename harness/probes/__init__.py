"""Probes on torch itself: data, model, optimizer, scheduler. They write the ledger and leave torch as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from ..workloads.workload import Workload
from .data import watch_loaders
from .model import watch_model
from .optimizer import watch_optimizers
from .output import planned_from_output
from .recorder import Interruption, Recorder, Runaway
from .scheduler import watch_schedulers

__all__ = ["Interruption", "Recorder", "Runaway", "planned_from_output", "watch"]


@contextmanager
def watch(recorder: Recorder, model: nn.Module, dataset: Any, workload: Workload) -> Iterator[None]:
    """Attach all probes while the block runs; afterwards torch is as it was."""
    with ExitStack() as stack:
        stack.enter_context(watch_loaders(recorder, dataset, workload))
        stack.enter_context(watch_model(recorder, model, workload))
        stack.enter_context(watch_optimizers(recorder, model, workload))
        stack.enter_context(watch_schedulers(recorder))
        yield
