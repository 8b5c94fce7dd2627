"""Windows of micro-batches, from any position of any epoch.

A position is a pair of counts (epoch, micro-batches done in it); nothing about the data needs to be saved to
go on from there. Reading is left to ``torch.utils.data.DataLoader`` with a generator of its own, so that
reading rows never disturbs the random numbers that training draws.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from .order import RowOrder
from .packing import pack_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .collation import Collator, MicroBatch, PackedCollator
    from .config import TrainingConfig


@runtime_checkable
class Sized(Protocol):
    """Anything with a length."""

    def __len__(self) -> int:
        """The number of rows."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The micro-batches whose gradients one update accumulates.

    Attributes:
        micro_batches: This rank's micro-batches, in order.
    """

    micro_batches: tuple[MicroBatch, ...]

    @property
    def label_tokens(self) -> int:
        """Label tokens of this rank's part of the window."""
        return sum(batch.label_tokens for batch in self.micro_batches)

    @property
    def input_tokens(self) -> int:
        """Tokens of this rank's part of the window, without padding."""
        return sum(batch.input_tokens for batch in self.micro_batches)

    @property
    def rows(self) -> tuple[tuple[int, ...], ...]:
        """Row numbers of each micro-batch."""
        return tuple(batch.rows for batch in self.micro_batches)


class _Numbered(Dataset[tuple[int, Any]]):
    """Hands out rows together with their number."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, number: int) -> tuple[int, Any]:
        return number, self.dataset[number]

    def __getitems__(self, numbers: list[int]) -> list[tuple[int, Any]]:
        fetch = getattr(self.dataset, "__getitems__", None)
        rows = [self.dataset[number] for number in numbers] if fetch is None else fetch(numbers)
        return list(zip(numbers, rows, strict=True))


class DataSource:
    """The training data of a run, cut into windows.

    Args:
        dataset: Map-style dataset, or iterable dataset, of rows.
        config: The settings.
        collate: Makes a micro-batch of rows.
        rank: This process.
        ranks: Processes that share the data.

    Raises:
        ValueError: An iterable dataset was given with packing or with several ranks.
    """

    def __init__(
        self,
        dataset: Any,
        config: TrainingConfig,
        collate: Collator | PackedCollator,
        *,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._dataset = dataset
        self._config = config
        self._collate = collate
        self._iterable = isinstance(dataset, IterableDataset)
        self._packs: list[list[int]] | None = None
        if self._iterable:
            for asked, what in ((config.packing, "packing=True"), (ranks > 1, f"{ranks} ranks")):
                if asked:
                    raise ValueError(
                        f"{what} needs a map-style dataset, got the iterable {type(dataset).__name__}"
                    )
            self.rows: int | None = len(dataset) if isinstance(dataset, Sized) else None
            return
        self.rows = len(dataset)
        if self.rows == 0:
            raise ValueError(f"the dataset {type(dataset).__name__} has no rows")
        if config.packing:
            assert config.max_length is not None
            lengths = [min(len(dataset[at]["input_ids"]), config.max_length) for at in range(self.rows)]
            self._packs = pack_rows(lengths, max_length=config.max_length)
            self.rows = len(self._packs)
        self._order = RowOrder(
            rows=self.rows,
            batch_size=config.per_device_train_batch_size,
            drop_last=config.dataloader_drop_last,
            shuffle=config.shuffle,
            seed=config.order_seed,
            rank=rank,
            ranks=ranks,
        )

    def windows(self, epoch: int, *, skip_micro_batches: int = 0) -> Iterator[Window]:
        """The windows of one epoch.

        Args:
            epoch: Which pass over the data, from 0.
            skip_micro_batches: Micro-batches already trained on. Rows of a map-style dataset are not read
                again; an iterable dataset has to be read past them.

        Yields:
            Windows of ``gradient_accumulation_steps`` micro-batches; the last one of the epoch may be
            shorter.
        """
        batches = (
            self._from_iterable(skip_micro_batches)
            if self._iterable
            else self._from_map(epoch, skip_micro_batches)
        )
        while chunk := tuple(itertools.islice(batches, self._config.gradient_accumulation_steps)):
            yield Window(micro_batches=chunk)

    def _from_map(self, epoch: int, skip: int) -> Iterator[MicroBatch]:
        batches: Sequence[list[int]] = self._order.epoch(epoch)[skip:]
        if self._packs is not None:
            batches = [[row for pack in batch for row in self._packs[pack]] for batch in batches]
        return iter(
            DataLoader(
                _Numbered(self._dataset),
                batch_sampler=batches,
                collate_fn=self._collate,
                num_workers=self._config.dataloader_num_workers,
                generator=torch.Generator().manual_seed(self._config.order_seed + epoch),
            )
        )

    def _from_iterable(self, skip: int) -> Iterator[MicroBatch]:
        size = self._config.per_device_train_batch_size
        rows: Iterator[Mapping[str, Any]] = iter(self._dataset)
        at = 0
        for number in itertools.count():
            chunk = list(itertools.islice(rows, size))
            if not chunk or (self._config.dataloader_drop_last and len(chunk) < size):
                return
            if number >= skip:
                yield self._collate([(at + offset, row) for offset, row in enumerate(chunk)])
            at += len(chunk)
