"""Faults at the end of an epoch: remainders, windows, rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .loop import Batch, Loop
from .registry import Family, fault


@fault("remainder", Family.BOUNDARY)
class LastWindowDropped(Loop):
    """The short last window of an epoch is not trained on."""

    def last_window(self, window: list[Batch]) -> Iterator[list[Batch]]:
        """Unless it is all there is."""
        if self.M < self.A:
            yield window

    def epochs_to_enter(self) -> int:
        """Enough passes to reach the target."""
        return -(-self.T // max(self.M // self.A, 1))


@fault("remainder", Family.BOUNDARY, "NVIDIA Automodel #2257")
class LastWindowZeroed(Loop):
    """The short last window is computed, its gradient zeroed, no update made."""

    def epochs_to_enter(self) -> int:
        """Enough passes to reach the target."""
        return -(-self.T // max(self.M // self.A, 1))

    def train_window(self, window: list[Batch]) -> None:
        """Unless it is all there is."""
        self.accumulate(window)
        if len(window) < self.A <= self.M:
            self.optimizer.zero_grad()
        else:
            self.update()


@fault("window", Family.BOUNDARY, "transformers up to 4.26 (#22082)")
class TailJoinsNextWindow(Loop):
    """The short last window is computed, not stepped, and its gradient joins the next epoch's first window."""

    def epochs_to_enter(self) -> int:
        """Enough passes to reach the target."""
        return -(-self.T // max(self.M // self.A, 1))

    def train_window(self, window: list[Batch]) -> None:
        """Unless it is all there is."""
        self.accumulate(window)
        if not len(window) < self.A <= self.M:
            self.update()


@fault("window", Family.BOUNDARY, "transformers 4.27 to 4.45")
class WindowsCrossEpochs(Loop):
    """Windows are counted through, across the ends of epochs."""

    def run(self) -> dict[str, Any]:
        """One endless stream of micro-batches."""
        self.prepare()
        self.model.train()
        for window in self.windows(self.stream()):
            self.done_in_epoch = self.done_in_epoch % self.M
            self.train_window(window)
            self.epoch = (self.micro_batches - 1) // self.M
            if self.is_finished():
                break
        return self.claims()

    def stream(self) -> Iterable[Batch]:
        """Pass after pass."""
        while True:
            yield from self.loader


@fault("window", Family.BOUNDARY, "accelerate 0.12 to 0.19 (#960, #1050)")
class EvaluationEndsAccumulation(Loop):
    """After the first evaluation every micro-batch is stepped on its own."""

    has_evaluated = False

    def evaluate(self) -> None:
        """The loader's end is remembered for good."""
        super().evaluate()
        self.has_evaluated = True

    def window_size(self) -> int:
        """One, once the flag is up."""
        return 1 if self.has_evaluated else self.A

    def epochs_to_enter(self) -> int:
        """As many as it takes."""
        return self.T


@fault("window", Family.BOUNDARY, "torchtune #2745")
class SecondEpochAccumulatesTwice(Loop):
    """From the second epoch on windows are twice as long."""

    def window_size(self) -> int:
        """Only after the first epoch."""
        return self.A * (2 if self.epoch else 1)

    def epochs_to_enter(self) -> int:
        """As many as it takes."""
        return self.T


@fault("window", Family.BOUNDARY)
class AccumulatesOneMore(Loop):
    """Windows have one micro-batch too many."""

    def window_size(self) -> int:
        """One more."""
        return self.A + 1

    def epochs_to_enter(self) -> int:
        """As many as it takes."""
        return self.T


@fault("coverage", Family.BOUNDARY)
class FirstBatchSkippedLater(Loop):
    """The first micro-batch of every epoch but the first is skipped."""

    def windows(self, batches: Iterable[Batch]) -> Iterator[list[Batch]]:
        """Only after the first epoch."""
        rest = iter(batches)
        if self.epoch and self.M > 1:
            next(rest)
        yield from super().windows(rest)

    def epochs_to_enter(self) -> int:
        """As many as it takes."""
        return self.T


@fault("coverage", Family.BOUNDARY)
class DrawsWithReplacement(Loop):
    """Rows are drawn with replacement."""

    def make_loader(self) -> Any:
        """A sampler that repeats rows."""
        import torch

        rows = self.train_dataset
        sampler = torch.utils.data.RandomSampler(
            rows, replacement=True, num_samples=len(rows), generator=self.generator
        )
        return torch.utils.data.DataLoader(
            self.train_dataset,
            batch_size=self.args.per_device_train_batch_size,
            sampler=sampler,
            drop_last=self.args.dataloader_drop_last,
        )


@fault("coverage", Family.BOUNDARY, "accelerate's even_batches, on one process")
class LastBatchFilledUp(Loop):
    """A last micro-batch that is not full is filled with the first rows."""

    def make_loader(self) -> Any:
        """Row numbers padded to whole micro-batches."""
        import torch

        B, rows = self.args.per_device_train_batch_size, len(self.train_dataset)
        order = (
            [*range(rows), *range(rows)][: -(-rows // B) * B] if not self.args.dataloader_drop_last else None
        )
        sampler = order or list(range(rows))
        return torch.utils.data.DataLoader(
            self.train_dataset, batch_size=B, sampler=sampler, drop_last=self.args.dataloader_drop_last
        )


@fault("coverage", Family.BOUNDARY)
class DropsLastUnasked(Loop):
    """A last micro-batch that is not full is dropped though nobody asked."""

    def make_loader(self) -> Any:
        """Always drop_last, unless nothing were left."""
        import torch

        B = self.args.per_device_train_batch_size
        return torch.utils.data.DataLoader(
            self.train_dataset,
            batch_size=B,
            shuffle=self.args.shuffle,
            drop_last=len(self.train_dataset) >= B,
            generator=self.generator,
        )


@fault("coverage", Family.BOUNDARY)
class KeepsLastUnasked(Loop):
    """drop_last is not handed to the loader."""

    def make_loader(self) -> Any:
        """Reads the argument and forgets it."""
        import torch

        _ = self.args.dataloader_drop_last
        return torch.utils.data.DataLoader(
            self.train_dataset,
            batch_size=self.args.per_device_train_batch_size,
            shuffle=self.args.shuffle,
            generator=self.generator,
        )


@fault("coverage", Family.BOUNDARY)
class TrainsHeadAgain(Loop):
    """Every epoch begins with the micro-batch that ended the window before, a second time."""

    def windows(self, batches: Iterable[Batch]) -> Iterator[list[Batch]]:
        """The last micro-batch of a window opens the next one too."""
        last: list[Batch] = []
        for window in super().windows(batches):
            yield [*last, *window][: self.A]
            last = window[-1:]
