"""Correct trainers that do things in another way: whatever is found wrong with them is a false alarm."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from .loop import Batch, Loop, label_tokens
from .registry import unusual


@unusual
class ScalesTheMean(Loop):
    """Takes the micro-batch mean and multiplies it with its share of the tokens."""

    def loss(self, batch: Batch, divisor: Any, window: list[Batch]) -> Any:
        """Mean times n / N."""
        del window
        return self.model(**batch).loss * (label_tokens(batch) / divisor)


@unusual
class DividesTheGradient(Loop):
    """Sums token losses and divides the gradient once, before the update."""

    total = 0

    def loss(self, batch: Batch, divisor: Any, window: list[Batch]) -> Any:
        """The sum; the log wants the mean."""
        del window
        self.total = divisor
        return self.model(**batch, num_items_in_batch=1).loss

    def update(self) -> None:
        """Divided here."""
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(self.total)
        self.window_loss /= self.total
        super().update()

    def logged_loss(self) -> float:
        """Of the objective that was descended."""
        return super().logged_loss()


@unusual
class ScalesByHook(Loop):
    """A tensor hook on the loss divides its gradient."""

    def loss(self, batch: Batch, divisor: Any, window: list[Batch]) -> Any:
        """Divided on the way back."""
        del window
        loss = self.model(**batch, num_items_in_batch=1).loss
        loss.register_hook(lambda gradient: gradient / divisor)
        return loss

    def train_micro_batch(self, batch: Batch, divisor: Any, window: list[Batch]) -> None:
        """The log wants the mean too."""
        before = self.window_loss
        super().train_micro_batch(batch, divisor, window)
        self.window_loss = before + (self.window_loss - before) / divisor


@unusual
class Prefetches(Loop):
    """Reads a whole epoch of micro-batches before it trains on the first."""

    def windows(self, batches: Iterable[Batch]) -> Iterator[list[Batch]]:
        """From a list."""
        yield from super().windows(list(batches))


@unusual
class PrefetchesEverything(Loop):
    """Reads the micro-batches of all epochs before it trains on the first."""

    def train_epoch(self) -> None:
        """From one queue."""
        if self.epoch == 0:
            self.queue = [list(self.loader) for _ in range(self.epochs_to_enter())]
        self.loader_before, self.loader = self.loader, self.queue[self.epoch]
        super().train_epoch()
        self.loader = self.loader_before


@unusual
class StepsInClosure(Loop):
    """The gradient is computed in a closure that the optimizer calls."""

    def train_window(self, window: list[Batch]) -> None:
        """Clipping is inside too."""

        def closure() -> float:
            self.optimizer.zero_grad()
            self.accumulate(window)
            self.clip()
            return self.window_loss

        self.rate = self.schedule.get_last_lr()[0]
        self.optimizer.step(closure)
        self.scheduler_step()
        self.updates += 1
        self.after_update()


@unusual
class ForeachOptimizer(Loop):
    """The optimizer updates all parameters at once."""

    def make_optimizer(self) -> Any:
        """foreach."""
        import torch

        parameters, rate = list(self.model.parameters()), self.args.learning_rate
        if self.args.optim == "sgd":
            return torch.optim.SGD(parameters, lr=rate, foreach=True)
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0, foreach=True)


@unusual
class FusedOptimizer(Loop):
    """The optimizer is a fused kernel."""

    def make_optimizer(self) -> Any:
        """fused."""
        import torch

        parameters, rate = list(self.model.parameters()), self.args.learning_rate
        if self.args.optim == "sgd":
            return torch.optim.SGD(parameters, lr=rate, fused=True)
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0, fused=True)


@unusual
class KeepsGradientBuffers(Loop):
    """Gradients are zeroed in place."""

    def zero_grad(self) -> None:
        """Not set to None."""
        self.optimizer.zero_grad(set_to_none=False)


@unusual
class DropsGradientsByHand(Loop):
    """Gradients are set to None, zero_grad is never called."""

    def zero_grad(self) -> None:
        """By hand."""
        for parameter in self.model.parameters():
            parameter.grad = None


@unusual
class ZeroesBeforeWindow(Loop):
    """Gradients are zeroed at the beginning of a window, not at its end."""

    def accumulate(self, window: list[Batch]) -> None:
        """First."""
        self.optimizer.zero_grad()
        super().accumulate(window)

    def zero_grad(self) -> None:
        """Not after the update."""


@unusual
class ClipsByHand(Loop):
    """Clipping is three lines of its own."""

    def clip(self) -> None:
        """Without torch's function."""
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        self.norm = math.sqrt(sum(float(gradient.double().pow(2).sum()) for gradient in gradients))
        if self.args.max_grad_norm and self.norm > self.args.max_grad_norm:
            for gradient in gradients:
                gradient.mul_(self.args.max_grad_norm / (self.norm + 1e-6))


@unusual
class WatchesGradients(Loop):
    """A hook on every parameter looks at its gradient."""

    seen = 0

    def prepare(self) -> None:
        """Hooks that change nothing."""
        super().prepare()

        def look(parameter: Any) -> None:
            del parameter
            self.seen += 1

        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(look)


@unusual
class ReturnsGradients(Loop):
    """Gradients come from `torch.autograd.grad` and are added by hand."""

    def backward(self, loss: Any) -> None:
        """Returned, then added."""
        import torch

        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


@unusual
class OneBackwardAWindow(Loop):
    """The micro-batches' losses are added up and go backward together."""

    pending: Any = 0.0

    def backward(self, loss: Any) -> None:
        """Later."""
        self.pending = self.pending + loss

    def update(self) -> None:
        """Now."""
        self.pending.backward()
        self.pending = 0.0
        super().update()


@unusual
class WithoutLoader(Loop):
    """Rows are sliced from the dataset by index; there is no loader."""

    def make_loader(self) -> Any:
        """Micro-batches of a shuffled list, made when they are iterated."""
        return _Slices(self)


class _Slices:
    """An iterable with a length over index slices."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        rows, B = len(loop.train_dataset), loop.args.per_device_train_batch_size
        last = rows - rows % B if loop.args.dataloader_drop_last else rows
        self.starts = range(0, last, B)

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[Batch]:
        import torch
        from torch.utils.data import default_collate

        order = torch.randperm(len(self.loop.train_dataset), generator=self.loop.generator).tolist()
        for start in self.starts:
            rows = order[start : start + self.loop.args.per_device_train_batch_size]
            yield default_collate([self.loop.train_dataset[row] for row in rows])


@unusual
class PeeksAtLoader(Loop):
    """Looks at one micro-batch before training, to see its keys."""

    def prepare(self) -> None:
        """One batch is read and forgotten."""
        super().prepare()
        self.keys = sorted(next(iter(self.loader), {}))


@unusual
class EndlessStream(Loop):
    """One endless iterator over the loader; epochs are only counted."""

    def run(self) -> dict[str, Any]:
        """Windows by position in the epoch."""
        self.prepare()
        self.model.train()
        stream = self.stream()
        while not self.is_finished():
            self.done_in_epoch %= self.M
            size = min(self.A, self.M - self.done_in_epoch)
            window = [next(stream) for _ in range(size)]
            self.epoch = self.micro_batches // self.M
            self.train_window(window)
        return self.claims()

    def stream(self) -> Iterator[Batch]:
        """Pass after pass."""
        while True:
            yield from self.loader


@unusual
class RateByHand(Loop):
    """The rate is written into the optimizer by hand; no scheduler steps."""

    def make_schedule(self, length: int) -> Any:
        """The schedule's function, not its object."""
        self.factor = super().make_schedule(length).lr_lambdas[0]
        return self

    def get_last_lr(self) -> list[float]:
        """Set for the update that comes."""
        rate = self.args.learning_rate * self.factor(self.updates)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return [rate]

    def scheduler_step(self) -> None:
        """Nothing to advance."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing to keep: the rate follows from the updates."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


@unusual
class ChainedSchedule(Loop):
    """The schedule sits inside a ChainedScheduler."""

    def make_schedule(self, length: int) -> Any:
        """Chained with nothing."""
        import torch

        return torch.optim.lr_scheduler.ChainedScheduler([super().make_schedule(length)])


@unusual
class SkipsLastAdvance(Loop):
    """The schedule is not advanced after the last update, where it has no effect."""

    def scheduler_step(self) -> None:
        """Except after the last."""
        if self.updates + 1 < self.T:
            super().scheduler_step()


@unusual
class EvaluatesBeforeTraining(Loop):
    """A pass over the evaluation rows before the first update, which nobody counts as an evaluation that was due."""

    def prepare(self) -> None:
        """A sanity check, where evaluations are not asked for."""
        super().prepare()
        if not self.eval_every:
            self.evaluate()


@unusual
class KeepsAverageModel(Loop):
    """An exponential moving average of the weights lives beside the model."""

    def prepare(self) -> None:
        """A copy."""
        import copy

        super().prepare()
        self.average = copy.deepcopy(self.model).requires_grad_(requires_grad=False)

    def optimizer_step(self) -> None:
        """Updated after every step."""
        super().optimizer_step()
        for kept, parameter in zip(self.average.parameters(), self.model.parameters(), strict=True):
            kept.lerp_(parameter.detach(), 0.1)


@unusual
class WholeNumberEpochs(Loop):
    """The claimed epoch is the number of the current pass."""

    def claimed_epoch(self) -> float:
        """Counted from 1."""
        return self.epoch + 1


@unusual
class LogsLastLoss(Loop):
    """The logged loss is the update's own, not the mean since the last entry."""

    def logged_loss(self) -> float:
        """The last one."""
        return self.interval[-1]
