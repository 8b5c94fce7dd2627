"""Probe on data loaders: every new pass over the training dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from .patches import replaced
from .recorder import Recorder

__all__ = ["watch_loaders"]


@contextmanager
def watch_loaders(recorder: Recorder, dataset: Any) -> Iterator[None]:
    """Record an iterator made over `dataset` by any loader, also over a wrapper such as `Subset` around it.

    An iterable dataset tells its passes itself.
    """

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        def make_iterator(loader: DataLoader[Any]) -> Any:
            inner: Any = loader
            while inner is not None and inner is not dataset:
                inner = getattr(inner, "dataset", None)
            if inner is dataset and not isinstance(dataset, IterableDataset):
                recorder.began_pass()
            return original(loader)

        return make_iterator

    with replaced(DataLoader, "__iter__", watched):
        yield
