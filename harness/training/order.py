"""Which rows each micro-batch of an epoch gets: the order, and its split over ranks.

The order is the one that ``Trainer`` 5.x trains in for the same seed: accelerate's ``SeedableRandomSampler``
seeds a generator with ``seed + epoch`` and takes ``torch.randperm``. The split over ranks is that of
accelerate's ``BatchSamplerShard`` with ``even_batches``: whole batches go round the ranks, and without
``drop_last`` rows from the beginning of the order fill the last round, so that every rank makes equally many
full micro-batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class RowOrder:
    """The rows of every micro-batch of every epoch, as a pure function of its fields.

    Attributes:
        rows: Rows of the dataset.
        batch_size: Rows of one micro-batch on one rank.
        drop_last: Drop what does not fill a micro-batch on every rank.
        shuffle: Draw a new order every epoch.
        seed: Seed of the order.
        rank: This process.
        ranks: Processes that share the data.
    """

    rows: int
    batch_size: int
    drop_last: bool
    shuffle: bool
    seed: int
    rank: int = 0
    ranks: int = 1

    def epoch(self, epoch: int) -> list[list[int]]:
        """The row numbers of this rank's micro-batches.

        Args:
            epoch: Which pass over the data, from 0.

        Returns:
            One list of row numbers a micro-batch.
        """
        order = self._order(epoch)
        share = self.batch_size * self.ranks
        if self.drop_last:
            order = order[: len(order) // share * share]
        elif self.ranks > 1 and len(order) % share:
            head = order[:share]
            while len(head) < share:
                head = head + head
            order = order + head[: -len(order) % share]
        batches = [order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size)]
        return batches[self.rank :: self.ranks]

    def _order(self, epoch: int) -> list[int]:
        if not self.shuffle:
            return list(range(self.rows))
        generator = torch.Generator().manual_seed(self.seed + epoch)
        order: list[int] = torch.randperm(self.rows, generator=generator).tolist()
        return order
