"""A correct loop in parts that can be replaced one by one, and correct loops of unusual build.

Each public function is a loop of one's own: `train(model, dataset, args)`.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch.utils.data import DataLoader, default_collate
from transformers import get_scheduler

__all__ = ["Loop"]


def tokens_of(batch) -> int:
    """Label tokens after the shift."""
    return int((batch["labels"][..., 1:] != -100).sum())


class Loop:
    """One method a decision; every wrong loop overrides the one that it gets wrong."""

    def __init__(self, model, dataset, args):
        self.model, self.dataset, self.args = model, dataset, args
        self.accum = args.gradient_accumulation_steps
        self.loader = self.make_loader()
        self.per_epoch = math.ceil(len(self.loader) / self.accum)
        self.goal = (
            args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * self.per_epoch)
        )
        self.optimizer = self.make_optimizer()
        self.scheduler = self.make_scheduler()
        self.updates = self.tokens = self.passes = self.in_pass = self.micro_batches = 0
        self.since_log = []
        self.log = []
        self.norm = None

    def make_loader(self):
        order = torch.Generator().manual_seed(self.args.seed)
        return DataLoader(
            self.dataset,
            batch_size=self.args.per_device_train_batch_size,
            shuffle=self.args.shuffle,
            drop_last=self.args.dataloader_drop_last,
            generator=order,
        )

    def make_optimizer(self):
        return torch.optim.SGD(self.model.parameters(), lr=self.args.learning_rate)

    def make_scheduler(self):
        args = self.args
        return get_scheduler(
            args.lr_scheduler_type,
            self.optimizer,
            num_warmup_steps=args.warmup_steps,
            num_training_steps=self.goal,
        )

    def run(self):
        self.model.train()
        while self.updates < self.goal:
            self.in_pass = 0
            for window in self.windows():
                self.in_pass += len(window)
                self.train_window(window)
                if self.updates >= self.goal:
                    break
            self.end_pass()
        return self.claims()

    def end_pass(self):
        self.passes += 1

    def windows(self):
        window = []
        for batch in self.loader:
            window.append(batch)
            if len(window) == self.accum:
                yield window
                window = []
        if window:
            yield window

    def train_window(self, window):
        self.backward(window)
        self.clip()
        self.step()
        self.zero()
        self.updates += 1
        self.after_update()

    def backward(self, window):
        total = sum(tokens_of(batch) for batch in window)
        fed = 0.0
        for batch in window:
            loss = self.loss_of(batch, total)
            loss.backward()
            fed += loss.item()
            self.micro_batches += 1
            self.tokens += self.count_tokens(batch)
        self.since_log.append(fed)

    def loss_of(self, batch, total):
        return self.model(**batch, num_items_in_batch=total).loss

    def count_tokens(self, batch):
        return int(batch["attention_mask"].sum())

    def clip(self):
        limit = self.args.max_grad_norm or math.inf
        self.norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit))

    def step(self):
        self.rate = self.optimizer.param_groups[0]["lr"]
        self.optimizer.step()
        self.scheduler.step()

    def zero(self):
        self.optimizer.zero_grad()

    def after_update(self):
        args = self.args
        if args.logging_strategy == "steps" and self.is_due(args.logging_steps):
            self.log.append(self.entry())
            self.since_log = []
        if args.save_strategy == "steps" and self.is_due(args.save_steps, at_end=True):
            (Path(self.args.output_dir) / f"checkpoint-{self.updates}").mkdir()
        if args.eval_strategy == "steps" and self.is_due(args.eval_steps, at_end=True):
            self.evaluate()

    def is_due(self, every, at_end=False):
        return self.updates % every == 0 or (at_end and self.updates == self.goal)

    def entry(self):
        return {
            "step": self.updates,
            "epoch": self.epoch(),
            "loss": sum(self.since_log) / len(self.since_log),
            "learning_rate": self.rate,
            "grad_norm": self.norm,
        }

    def epoch(self):
        return self.passes + self.in_pass / len(self.loader)

    def evaluate(self):
        self.model.eval()
        with torch.no_grad():
            self.model(**default_collate([self.dataset[0]]))
        self.model.train()

    def claims(self):
        return {
            "global_step": self.updates,
            "epoch": self.passes - 1 + self.in_pass / len(self.loader),
            "planned_steps": self.goal,
            "num_input_tokens_seen": self.tokens,
            "log_history": self.log,
        }


def plain(model, dataset, args):
    """The loop as it is."""
    return Loop(model, dataset, args).run()


class Silent(Loop):
    def claims(self):
        return None


def silent(model, dataset, args):
    """Claims nothing."""
    return Silent(model, dataset, args).run()


class Closure(Loop):
    def train_window(self, window):
        def closure():
            self.optimizer.zero_grad()
            self.backward(window)
            self.clip()

        self.rate = self.optimizer.param_groups[0]["lr"]
        self.optimizer.step(closure)
        self.scheduler.step()
        self.updates += 1
        self.after_update()


def closure(model, dataset, args):
    """Gradients are computed inside `optimizer.step(closure)`."""
    return Closure(model, dataset, args).run()


class SumThenDivide(Loop):
    def backward(self, window):
        total = sum(tokens_of(batch) for batch in window)
        summed = 0.0
        for batch in window:
            loss = self.model(**batch).loss * tokens_of(batch)
            loss.backward()
            summed += loss.item()
            self.tokens += self.count_tokens(batch)
        for parameter in self.model.parameters():
            parameter.grad.div_(total)
        self.since_log.append(summed / total)


def sum_then_divide(model, dataset, args):
    """Sums of token losses; the gradients are divided once, before the update."""
    return SumThenDivide(model, dataset, args).run()


class OneBackward(Loop):
    def backward(self, window):
        total = sum(tokens_of(batch) for batch in window)
        loss = sum(self.loss_of(batch, total) for batch in window)
        loss.backward()
        self.tokens += sum(self.count_tokens(batch) for batch in window)
        self.since_log.append(loss.item())


def one_backward(model, dataset, args):
    """One backward for the whole window."""
    return OneBackward(model, dataset, args).run()


class FromLogits(Loop):
    def loss_of(self, batch, total):
        output = self.model(**{name: value for name, value in batch.items() if name != "labels"})
        scores = output.logits[:, :-1, 0] * 1.0
        return -(scores * (batch["labels"][:, 1:] != -100)).sum() / total


def from_logits(model, dataset, args):
    """Computes the loss itself, from the logits."""
    return FromLogits(model, dataset, args).run()


class Prefetching(Loop):
    def windows(self):
        batches = list(self.loader)
        for start in range(0, len(batches), self.accum):
            yield batches[start : start + self.accum]


def prefetching(model, dataset, args):
    """Fetches a whole epoch before it trains."""
    return Prefetching(model, dataset, args).run()


class PrefetchingEverything(Loop):
    def windows(self):
        if not hasattr(self, "store"):
            passes = math.ceil(self.goal / self.per_epoch)
            self.store = iter([list(self.loader) for _ in range(passes)])
        batches = next(self.store)
        for start in range(0, len(batches), self.accum):
            yield batches[start : start + self.accum]


def prefetching_everything(model, dataset, args):
    """Fetches the batches of all epochs before the first forward."""
    return PrefetchingEverything(model, dataset, args).run()


class Reusing(Loop):
    def windows(self):
        if not hasattr(self, "batches"):
            self.batches = list(self.loader)
        for start in range(0, len(self.batches), self.accum):
            yield self.batches[start : start + self.accum]


def reusing(model, dataset, args):
    """Fetches one epoch and trains on the same batches in every epoch."""
    return Reusing(model, dataset, args).run()


class Slicing(Loop):
    def windows(self):
        order = torch.randperm(len(self.dataset)) if self.args.shuffle else torch.arange(len(self.dataset))
        size = self.args.per_device_train_batch_size
        starts = range(0, len(order), size)
        if self.args.dataloader_drop_last:
            starts = range(0, len(order) - size + 1, size)
        batches = [order[start : start + size] for start in starts]
        for start in range(0, len(batches), self.accum):
            yield [
                default_collate([self.dataset[int(row)] for row in batch])
                for batch in batches[start : start + self.accum]
            ]


def slicing(model, dataset, args):
    """No DataLoader: slices of a permutation."""
    return Slicing(model, dataset, args).run()


class Peeking(Loop):
    def windows(self):
        next(iter(self.loader))
        yield from super().windows()


def peeking(model, dataset, args):
    """Looks at a batch before every epoch."""
    return Peeking(model, dataset, args).run()


class EvaluatingOnTrainingData(Loop):
    def after_update(self):
        super().after_update()
        self.model.eval()
        with torch.no_grad():
            for batch in DataLoader(self.dataset, batch_size=3):
                self.model(**batch)
        self.model.train()


def evaluating_on_training_data(model, dataset, args):
    """Measures its loss on the training data after every update, in the middle of an epoch."""
    return EvaluatingOnTrainingData(model, dataset, args).run()


class ScanningTrainingData(Loop):
    def after_update(self):
        super().after_update()
        for _ in DataLoader(self.dataset, batch_size=2):
            pass


def scanning_training_data(model, dataset, args):
    """Walks through the training data with a second loader, without a forward, in the middle of an epoch."""
    return ScanningTrainingData(model, dataset, args).run()


class Foreach(Loop):
    def make_optimizer(self):
        return torch.optim.AdamW(self.model.parameters(), lr=self.args.learning_rate, foreach=True)


def foreach_adamw(model, dataset, args):
    """AdamW, foreach implementation."""
    return Foreach(model, dataset, args).run()


class Fused(Loop):
    def make_optimizer(self):
        return torch.optim.AdamW(self.model.parameters(), lr=self.args.learning_rate, fused=True)


def fused_adamw(model, dataset, args):
    """AdamW, fused implementation."""
    return Fused(model, dataset, args).run()


class ZeroInPlace(Loop):
    def zero(self):
        self.optimizer.zero_grad(set_to_none=False)


def zero_in_place(model, dataset, args):
    """Gradients stay allocated."""
    return ZeroInPlace(model, dataset, args).run()


class DropGradients(Loop):
    def zero(self):
        for parameter in self.model.parameters():
            parameter.grad = None


def drop_gradients(model, dataset, args):
    """`p.grad = None` instead of `zero_grad`."""
    return DropGradients(model, dataset, args).run()


class ZeroBefore(Loop):
    def backward(self, window):
        self.optimizer.zero_grad()
        super().backward(window)

    def zero(self):
        pass


def zero_before(model, dataset, args):
    """Zeroes before the window instead of after the update."""
    return ZeroBefore(model, dataset, args).run()


class ClippingByHand(Loop):
    def clip(self):
        (gradient,) = (parameter.grad for parameter in self.model.parameters())
        self.norm = gradient.norm().item()
        limit = self.args.max_grad_norm
        if limit and self.norm > limit:
            gradient.mul_(limit / self.norm)


def clipping_by_hand(model, dataset, args):
    """Clips by code of its own, without torch's 1e-6."""
    return ClippingByHand(model, dataset, args).run()


class ClippingTwice(Loop):
    def clip(self):
        super().clip()
        norm = self.norm
        super().clip()
        self.norm = norm


def clipping_twice(model, dataset, args):
    """Clips the whole window twice to the same limit, which changes (almost) nothing."""
    return ClippingTwice(model, dataset, args).run()


class Hooked(Loop):
    def __init__(self, model, dataset, args):
        super().__init__(model, dataset, args)
        self.scale = 1.0
        for parameter in model.parameters():
            parameter.register_hook(lambda gradient: gradient * self.scale)

    def loss_of(self, batch, total):
        self.scale = tokens_of(batch) / total
        return self.model(**batch).loss

    def backward(self, window):
        super().backward(window)
        total = sum(tokens_of(batch) for batch in window)
        with torch.no_grad():
            self.since_log[-1] = sum(
                self.model(**batch, num_items_in_batch=total).loss.item() for batch in window
            )


def hooked(model, dataset, args):
    """A gradient hook, not the loss, scales micro-batches to a token mean."""
    return Hooked(model, dataset, args).run()


class RateByHand(Loop):
    def make_scheduler(self):
        return None

    def step(self):
        warmup = self.args.warmup_steps
        assert self.args.lr_scheduler_type == "linear"
        k = self.updates
        factor = k / max(1, warmup) if k < warmup else max(0.0, (self.goal - k) / max(1, self.goal - warmup))
        for group in self.optimizer.param_groups:
            group["lr"] = self.args.learning_rate * factor
        self.rate = self.args.learning_rate * factor
        self.optimizer.step()


def rate_by_hand(model, dataset, args):
    """Sets the rate itself, without a scheduler."""
    return RateByHand(model, dataset, args).run()


class LambdaByHand(Loop):
    def make_scheduler(self):
        warmup = self.args.warmup_steps
        assert self.args.lr_scheduler_type == "linear"

        def factor(k):
            return (
                k / max(1, warmup) if k < warmup else max(0.0, 1 - (k - warmup) / max(1, self.goal - warmup))
            )

        return torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)

    def step(self):
        self.rate = self.optimizer.param_groups[0]["lr"]
        self.optimizer.step()
        if self.updates + 1 < self.goal:
            self.scheduler.step()


def lambda_by_hand(model, dataset, args):
    """A schedule in another order of operations, not advanced after the last update."""
    return LambdaByHand(model, dataset, args).run()


class Chained(Loop):
    def make_scheduler(self):
        base = super().make_scheduler()
        constant = torch.optim.lr_scheduler.ConstantLR(self.optimizer, factor=1.0, total_iters=1)
        return torch.optim.lr_scheduler.ChainedScheduler([base, constant])


def chained_schedulers(model, dataset, args):
    """Two schedulers advanced as one."""
    return Chained(model, dataset, args).run()


class IntegerEpochs(Loop):
    def epoch(self):
        return self.passes

    def claims(self):
        return super().claims() | {"epoch": self.passes}


def integer_epochs(model, dataset, args):
    """Logs the 0-based number of the pass and claims the passes at the end."""
    return IntegerEpochs(model, dataset, args).run()


class LossOfLast(Loop):
    def entry(self):
        return super().entry() | {"loss": self.since_log[-1]}


def loss_of_last_update(model, dataset, args):
    """Logs the loss of the update itself instead of the mean since the last entry."""
    return LossOfLast(model, dataset, args).run()


class StepsByPosition(Loop):
    def entry(self):
        entry = super().entry()
        del entry["step"]
        return entry


def log_without_steps(model, dataset, args):
    """A log history whose entries do not say at which step they were written."""
    return StepsByPosition(model, dataset, args).run()


class Scaled(Loop):
    def __init__(self, model, dataset, args):
        super().__init__(model, dataset, args)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    def backward(self, window):
        total = sum(tokens_of(batch) for batch in window)
        fed = 0.0
        for batch in window:
            loss = self.loss_of(batch, total)
            self.scaler.scale(loss).backward()
            fed += loss.item()
            self.tokens += self.count_tokens(batch)
        self.since_log.append(fed)

    def clip(self):
        self.scaler.unscale_(self.optimizer)
        super().clip()

    def step(self):
        self.rate = self.optimizer.param_groups[0]["lr"]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()


def grad_scaler(model, dataset, args):
    """A gradient scaler, unscaled before the clip."""
    return Scaled(model, dataset, args).run()
