"""Faults of training on several ranks, and correct loops that share the work in another way."""

from __future__ import annotations

import math
from typing import Any

from .loop import Batch, Loop
from .registry import Family, fault, unusual


class _OnRanks(Loop):
    """A loop on ranks that torchrun has started: rows dealt out, gradients averaged before the update."""

    on_ranks = True
    rank: int
    ranks: int

    def run(self) -> dict[str, Any]:
        """Join the other ranks for the length of the run."""
        import torch.distributed as dist

        dist.init_process_group("gloo")
        self.rank, self.ranks = dist.get_rank(), dist.get_world_size()
        try:
            return super().run()
        finally:
            dist.destroy_process_group()

    def total(self, value: float) -> float:
        """Sum a figure over the ranks."""
        import torch
        import torch.distributed as dist

        summed = torch.tensor(float(value), dtype=torch.float64)
        dist.all_reduce(summed)
        return float(summed)

    def make_loader(self) -> Any:
        """Return the loader over this rank's rows."""
        import torch

        return torch.utils.data.DataLoader(
            self.train_dataset,
            batch_size=self.args.per_device_train_batch_size,
            sampler=self.make_sampler(),
            drop_last=self.args.dataloader_drop_last,
        )

    def make_sampler(self) -> Any:
        """Return what deals out the rows."""
        from torch.utils.data import DistributedSampler

        return DistributedSampler(
            self.train_dataset,
            shuffle=self.args.shuffle,
            seed=self.args.seed,
            drop_last=self.args.dataloader_drop_last,
        )

    def train_epoch(self) -> None:
        """In an order of its own."""
        self.loader.sampler.set_epoch(self.epoch)
        super().train_epoch()

    def divisor(self, window: list[Batch]) -> Any:
        """N, the label tokens of the window over all ranks."""
        return self.total(super().divisor(window))

    def train_window(self, window: list[Batch]) -> None:
        """Averaged over the ranks before the update."""
        self.accumulate(window)
        self.average_gradients()
        self.update()

    def backward(self, loss: Any) -> None:
        """Times the ranks, for the gradients are averaged over them."""
        super().backward(loss * self.ranks)

    def average_gradients(self) -> None:
        """Sum over the ranks, divided by them."""
        self.sum_gradients(divided_by=self.ranks)

    def sum_gradients(self, divided_by: float) -> None:
        """All-reduce every gradient."""
        import torch.distributed as dist

        for parameter in self.model.parameters():
            dist.all_reduce(parameter.grad)
            parameter.grad.div_(divided_by)

    def after_update(self) -> None:
        """The loss of a window is that of all ranks."""
        self.window_loss = self.total(self.window_loss)
        super().after_update()

    def save(self) -> None:
        """By rank 0, while the others wait."""
        import torch.distributed as dist

        if not self.rank:
            super().save()
        dist.barrier()

    def claimed_tokens(self) -> int:
        """Those of all ranks."""
        return round(self.total(self.input_tokens))


@fault("ranks", Family.RANKS)
class ForgetsToAverage(_OnRanks):
    """The gradients are never averaged over the ranks: each rank trains a model of its own."""

    def average_gradients(self) -> None:
        """Never."""


@fault("ranks", Family.RANKS)
class EveryRankReadsEverything(_OnRanks):
    """The loader has no sampler that deals out the rows: every rank reads all of them."""

    def make_sampler(self) -> Any:
        """One that knows of one rank."""
        from torch.utils.data import DistributedSampler

        return DistributedSampler(
            self.train_dataset,
            num_replicas=1,
            rank=0,
            shuffle=self.args.shuffle,
            seed=self.args.seed,
            drop_last=self.args.dataloader_drop_last,
        )


@fault("ranks", Family.RANKS)
class ShufflesByRank(_OnRanks):
    """Every rank shuffles by a seed of its own before it takes its share: some rows come twice, others never."""

    def make_sampler(self) -> Any:
        """Seeded with the rank."""
        from torch.utils.data import DistributedSampler

        return DistributedSampler(
            self.train_dataset, seed=self.args.seed + self.rank, drop_last=self.args.dataloader_drop_last
        )


@fault("weight", Family.RANKS, "transformers #34242, #39392")
class PerRankTokenMean(_OnRanks):
    """Each rank divides by its own label tokens: the mean of the ranks' means."""

    def divisor(self, window: list[Batch]) -> Any:
        """This rank's."""
        return Loop.divisor(self, window)

    def after_update(self) -> None:
        """The log has the mean of the means."""
        self.window_loss /= self.ranks
        super().after_update()


@fault("weight", Family.RANKS)
class SumsOverRanks(_OnRanks):
    """The gradients are summed over the ranks as if the loss were not multiplied with them."""

    def average_gradients(self) -> None:
        """Summed."""
        self.sum_gradients(divided_by=1.0)


@fault("weight", Family.RANKS)
class AveragesTwice(_OnRanks):
    """The loss is divided by the label tokens of all ranks, and the gradients are averaged over the ranks besides."""

    def backward(self, loss: Any) -> None:
        """Without the factor that makes up for it."""
        Loop.backward(self, loss)


@fault("ranks", Family.RANKS)
class AveragesOneMicroBatch(_OnRanks):
    """The gradients are averaged after the first micro-batch of a window, and not after the last."""

    def train_micro_batch(self, batch: Batch, divisor: Any, window: list[Batch]) -> None:
        """Averaged too early, where there is more than one."""
        super().train_micro_batch(batch, divisor, window)
        if batch is window[0] and len(window) > 1:
            super().average_gradients()

    def average_gradients(self) -> None:
        """Done already."""
        if self.A == 1:
            super().average_gradients()


@fault("ranks", Family.RANKS)
class LastRankStopsEarly(_OnRanks):
    """The last rank leaves out the last update."""

    def optimizer_step(self) -> None:
        """Except the last one, there."""
        if self.rank < self.ranks - 1 or self.updates + 1 < self.T:
            super().optimizer_step()


@fault("ranks", Family.RANKS)
class StartsFromOtherWeights(_OnRanks):
    """Each rank adds noise to the first weights by a seed of its own, and nobody hands out those of rank 0."""

    def prepare(self) -> None:
        """Noise of a rank's own."""
        import torch

        super().prepare()
        generator = torch.Generator().manual_seed(self.args.seed + self.rank)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.add_(1e-3 * torch.randn(parameter.shape, generator=generator))


@fault("schedule", Family.RANKS, "accelerate #2926")
class AdvancesOncePerRank(_OnRanks):
    """The schedule advances once for every rank at each update, and is built for the updates."""

    def scheduler_step(self) -> None:
        """So many times."""
        for _ in range(self.ranks):
            super().scheduler_step()


@fault("target", Family.RANKS)
class CountsRowsOfOneRank(_OnRanks):
    """The updates of an epoch are counted as if one rank read all rows."""

    def updates_per_epoch(self) -> int:
        """Of all rows."""
        micro_batches: int = -(-len(self.train_dataset) // self.args.per_device_train_batch_size)
        return max(-(-micro_batches // self.A), 1)


@fault("clip", Family.RANKS)
class ClipsBeforeAveraging(_OnRanks):
    """Each rank clips its own gradient, and then they are averaged."""

    def train_window(self, window: list[Batch]) -> None:
        """In that order."""
        import torch

        self.accumulate(window)
        limit = self.args.max_grad_norm or math.inf
        self.norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        self.average_gradients()
        self.update()

    def clip(self) -> None:
        """Done already."""


@fault("tokens", Family.RANKS)
class CountsTokensOfOneRank(_OnRanks):
    """The tokens that it says it has seen are those of rank 0."""

    def claimed_tokens(self) -> int:
        """This rank's."""
        return self.input_tokens


@unusual
class WrapsInDataParallel(_OnRanks):
    """torch's DistributedDataParallel averages, in the backward of the window's last micro-batch."""

    def prepare(self) -> None:
        """Wrapped."""
        import torch

        super().prepare()
        self.wrapped = torch.nn.parallel.DistributedDataParallel(self.model)

    def train_micro_batch(self, batch: Batch, divisor: Any, window: list[Batch]) -> None:
        """Without a word to the other ranks before the last one."""
        self.wrapped.require_backward_grad_sync = batch is window[-1]
        super().train_micro_batch(batch, divisor, window)

    def loss(self, batch: Batch, divisor: Any, window: list[Batch]) -> Any:
        """Through the wrapper."""
        del window
        return self.wrapped(**batch, num_items_in_batch=divisor).loss

    def average_gradients(self) -> None:
        """Done by the wrapper."""


@unusual
class SumsAndDividesByTokens(_OnRanks):
    """Token losses are summed, gradients summed over the ranks, and divided by all label tokens before the update."""

    all_tokens = 0.0

    def divisor(self, window: list[Batch]) -> Any:
        """Kept for later."""
        self.all_tokens = super().divisor(window)
        return 1

    def backward(self, loss: Any) -> None:
        """As it is."""
        Loop.backward(self, loss)

    def average_gradients(self) -> None:
        """Divided by the tokens."""
        self.sum_gradients(divided_by=self.all_tokens)

    def after_update(self) -> None:
        """The log wants the mean."""
        self.window_loss /= self.all_tokens
        super().after_update()


@unusual
class SharesInBlocks(_OnRanks):
    """The rows go to the ranks in blocks, those of the first block fill up the last one."""

    def make_sampler(self) -> Any:
        """One block a rank."""
        return _Block(
            len(self.train_dataset), self.rank, self.ranks, drop_last=self.args.dataloader_drop_last
        )


@unusual
class GathersGradients(_OnRanks):
    """Every rank gathers the gradients of all and adds them up itself, from its own on."""

    def sum_gradients(self, divided_by: float) -> None:
        """In an order that differs between ranks."""
        import torch
        import torch.distributed as dist

        for parameter in self.model.parameters():
            parts = [torch.empty_like(parameter.grad) for _ in range(self.ranks)]
            dist.all_gather(parts, parameter.grad)
            own_first = parts[self.rank :] + parts[: self.rank]
            parameter.grad.copy_(torch.stack(own_first).sum(dim=0) / divided_by)


@unusual
class LogsItsOwnPart(_OnRanks):
    """Rank 0 logs the loss of its own micro-batches, as it goes into its gradient."""

    def train_micro_batch(self, batch: Batch, divisor: Any, window: list[Batch]) -> None:
        """Times the ranks, as in the backward."""
        before = self.window_loss
        super().train_micro_batch(batch, divisor, window)
        self.window_loss = before + (self.window_loss - before) * self.ranks

    def after_update(self) -> None:
        """Not summed over the ranks."""
        Loop.after_update(self)


class _Block:
    """Deals out rows in consecutive blocks of equal length."""

    def __init__(self, rows: int, rank: int, ranks: int, *, drop_last: bool) -> None:
        share = rows // ranks if drop_last else -(-rows // ranks)
        self._rows = [place % rows for place in range(rank * share, (rank + 1) * share)]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Any:
        return iter(self._rows)

    def set_epoch(self, epoch: int) -> None:
        """The same blocks in every epoch."""
        del epoch
