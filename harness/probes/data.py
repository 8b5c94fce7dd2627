"""Probe on data loaders: every new pass over the training dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

from ..workloads.workload import Workload
from .patches import replaced
from .recorder import Recorder

__all__ = ["watch_loaders"]


@contextmanager
def watch_loaders(recorder: Recorder, dataset: Any, workload: Workload) -> Iterator[None]:
    """Record every iterator made over `dataset` by a loader, and which of several it is that fetches.

    A wrapper such as `Subset` around the dataset counts as the dataset; an iterable dataset tells its passes itself.
    A dataset that the trainer made of it (`Recorder.adopt`) tells nothing: there the rows are read from the batches.
    """
    passes: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
    adopted: WeakKeyDictionary[Any, int] = WeakKeyDictionary()

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        def make_iterator(loader: DataLoader[Any]) -> Any:
            inner: Any = loader
            while inner is not None and inner is not dataset and inner is not recorder.adopted:
                inner = getattr(inner, "dataset", None)
            is_adopted = inner is not None and inner is recorder.adopted
            if not is_adopted and (inner is not dataset or isinstance(dataset, IterableDataset)):
                return original(loader)
            number = recorder.began_pass()
            iterator = original(loader)
            (adopted if is_adopted else passes)[iterator] = number
            return iterator

        return make_iterator

    def fetching(original: Callable[..., Any]) -> Callable[..., Any]:
        def fetch(iterator: Any) -> Any:
            made_of_it = adopted.get(iterator)
            number = passes.get(iterator) if made_of_it is None else made_of_it
            if number is None:
                return original(iterator)
            with recorder.fetching(number):
                try:
                    batch = original(iterator)
                except StopIteration:
                    recorder.ended_pass(number)
                    raise
            if made_of_it is not None:
                sight = workload.identify(batch["input_ids"], batch.get("labels"), None)
                recorder.fetched(sight.rows, number)
            return batch

        return fetch

    with ExitStack() as stack:
        stack.enter_context(replaced(DataLoader, "__iter__", watched))
        stack.enter_context(replaced(_BaseDataLoaderIter, "__next__", fetching))
        yield
