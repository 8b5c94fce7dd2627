"""A correct fine-tuning loop in small parts, so that one fault is one part overridden. Imports torch when it runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Announcer", "Batch", "Loop", "label_tokens"]

Batch = dict[str, Any]
"""tensors `input_ids`, `labels`, `attention_mask`, each `[batch, length]`"""


class Announcer(Protocol):
    """Where the loop says what it does, at the moment it does it."""

    def logged(self, entry: dict[str, Any]) -> None:
        """A log entry, by the names of a Hugging Face log."""

    def saved(self, global_step: int) -> None:
        """A checkpoint was written."""

    def evaluated(self, global_step: int) -> None:
        """An evaluation ended."""


class Loop:
    """Every label token of a window weighs 1/N; windows partition the epoch; the short last one is stepped.

    Args:
        model: honours `num_items_in_batch`.
        train_dataset: sized; `eval_dataset` too. `default_collate` works on both.
        args: `TrainingArguments` names.
        resume: whether to go on from the newest checkpoint in `args.output_dir`.
        announce: where log entries, checkpoints and evaluations are told.
    """

    resumes = False
    """whether it is also run with interruptions"""

    mixed_precision = False
    """whether it is run on a real model in float16, instead of on the tracer"""

    on_ranks = False
    """whether it is run on several ranks, instead of on one"""

    loader: Any
    optimizer: Any
    schedule: Any
    M: int
    A: int
    U: int
    T: int

    def __init__(
        self,
        *,
        model: Any,
        train_dataset: Any,
        eval_dataset: Any,
        args: Any,
        announce: Announcer,
        resume: bool = False,
    ) -> None:
        self.model = model
        self.train_dataset = train_dataset
        self.eval_dataset = eval_dataset
        self.args = args
        self.epochs: float = args.num_train_epochs
        self.announce = announce
        self.resume = resume
        self.skip = 0
        self.updates = 0
        self.micro_batches = 0
        self.done_in_epoch = 0
        self.epoch = 0
        self.input_tokens = 0
        self.interval: list[float] = []
        self.window_loss = 0.0
        self.norm: Any = None
        self.rate = 0.0

        self.log_every = args.logging_steps if args.logging_strategy == "steps" else 0
        self.save_every = args.save_steps if args.save_strategy == "steps" else 0
        self.eval_every = args.eval_steps if args.eval_strategy == "steps" else 0

    # ---- plan

    def prepare(self) -> None:
        """Build loader, optimizer and schedule."""
        import torch

        self.generator = torch.Generator().manual_seed(self.args.seed)
        self.order = self.generator.get_state()
        self.loader = self.make_loader()
        self.M = len(self.loader)
        self.A = self.args.gradient_accumulation_steps
        self.U = self.updates_per_epoch()
        self.T = self.target()
        self.optimizer = self.make_optimizer()
        self.schedule = self.make_schedule(self.schedule_length())

    def make_loader(self) -> Any:
        """Return the loader over the training rows."""
        import torch

        return torch.utils.data.DataLoader(
            self.train_dataset,
            batch_size=self.args.per_device_train_batch_size,
            shuffle=self.args.shuffle,
            drop_last=self.args.dataloader_drop_last,
            generator=self.generator,
        )

    def updates_per_epoch(self) -> int:
        """U."""
        return max(-(-self.M // self.A), 1)

    def target(self) -> int:
        """T."""
        if self.args.max_steps > 0:
            return int(self.args.max_steps)
        return math.ceil(self.epochs * self.U)

    def epochs_to_enter(self) -> int:
        """E."""
        return -(-self.T // self.U)

    def make_optimizer(self) -> Any:
        """Return the optimizer by its `TrainingArguments.optim` name."""
        import torch

        parameters = list(self.model.parameters())
        if self.args.optim == "sgd":
            return torch.optim.SGD(parameters, lr=self.args.learning_rate)
        fused = self.args.optim == "adamw_torch_fused"
        return torch.optim.AdamW(parameters, lr=self.args.learning_rate, weight_decay=0.0, fused=fused)

    def schedule_length(self) -> int:
        """Length that the schedule is built for."""
        return self.T

    def make_schedule(self, length: int) -> Any:
        """Return the schedule by its Hugging Face name."""
        from transformers import get_scheduler

        return get_scheduler(
            self.args.lr_scheduler_type,
            self.optimizer,
            num_warmup_steps=self.args.warmup_steps,
            num_training_steps=length,
        )

    # ---- run

    def run(self) -> dict[str, Any]:
        """Train and return what is claimed."""
        self.prepare()
        if self.resume:
            self.restore()
        self.model.train()
        for epoch in range(self.epoch, self.epochs_to_enter()):
            self.epoch = epoch
            self.train_epoch()
            self.end_epoch()
            if self.is_finished():
                break
        return self.claims()

    def train_epoch(self) -> None:
        """One pass over the rows, or what a resumed run has left of it."""
        self.order = self.generator.get_state()
        self.done_in_epoch, skip, self.skip = self.skip, self.skip, 0
        for window in self.windows(itertools.islice(self.loader, skip, None)):
            self.train_window(window)
            if self.is_finished():
                break

    def windows(self, batches: Iterable[Batch]) -> Iterator[list[Batch]]:
        """Group micro-batches into windows; the last one may be short."""
        window: list[Batch] = []
        for batch in batches:
            window.append(batch)
            if len(window) == self.window_size():
                yield window
                window = []
        if window:
            yield from self.last_window(window)

    def window_size(self) -> int:
        """Micro-batches of a full window."""
        return self.A

    def last_window(self, window: list[Batch]) -> Iterator[list[Batch]]:
        """What becomes of the short last window."""
        yield window

    def is_finished(self) -> bool:
        """Whether the run is over."""
        return self.updates >= self.T

    def end_epoch(self) -> None:
        """What is done between two passes."""

    # ---- one window

    def train_window(self, window: list[Batch]) -> None:
        """Accumulate the gradient of a window and update."""
        self.accumulate(window)
        self.update()

    def accumulate(self, window: list[Batch]) -> None:
        """Forward and backward of every micro-batch."""
        divisor = self.divisor(window)
        self.window_loss = 0.0
        for batch in window:
            self.train_micro_batch(batch, divisor, window)

    def train_micro_batch(self, batch: Batch, divisor: Any, window: list[Batch]) -> None:
        """Forward and backward of one micro-batch."""
        loss = self.loss(batch, divisor, window)
        self.backward(loss)
        self.window_loss += loss.item()
        self.micro_batches += 1
        self.done_in_epoch += 1
        self.input_tokens += self.count_tokens(batch)

    def divisor(self, window: list[Batch]) -> Any:
        """N, the label tokens of the window."""
        return sum(label_tokens(batch) for batch in window)

    def loss(self, batch: Batch, divisor: Any, window: list[Batch]) -> Any:
        """Loss of one micro-batch, as it goes into the gradient."""
        del window
        return self.model(**batch, num_items_in_batch=divisor).loss

    def backward(self, loss: Any) -> None:
        """Add the gradient of a loss."""
        loss.backward()

    def count_tokens(self, batch: Batch) -> int:
        """Input tokens of a micro-batch, without padding."""
        return int(batch["attention_mask"].sum())

    # ---- one update

    def update(self) -> None:
        """Clip, step, advance the schedule, zero; then log, evaluate, save."""
        self.clip()
        self.rate = self.schedule.get_last_lr()[0]
        self.optimizer_step()
        self.scheduler_step()
        self.zero_grad()
        self.updates += 1
        self.after_update()

    def clip(self) -> None:
        """Clip by the norm of the whole window's gradient."""
        import torch

        limit = self.args.max_grad_norm or math.inf
        self.norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)

    def optimizer_step(self) -> None:
        """Update the parameters."""
        self.optimizer.step()

    def scheduler_step(self) -> None:
        """Advance the schedule."""
        self.schedule.step()

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.optimizer.zero_grad()

    def after_update(self) -> None:
        """Log, evaluate and save where due."""
        self.interval.append(self.window_loss)
        if self.log_is_due():
            self.announce.logged(self.log_entry())
            self.interval = []
        if self.eval_is_due():
            self.evaluate()
            self.announce.evaluated(self.updates)
        if self.save_is_due():
            self.save()
            self.announce.saved(self.updates)

    # ---- claims

    def log_is_due(self) -> bool:
        """Every logging_steps updates."""
        return bool(self.log_every) and self.updates % self.log_every == 0

    def log_entry(self) -> dict[str, Any]:
        """What the log says."""
        return {
            "step": self.claimed_updates(),
            "epoch": self.claimed_epoch(),
            "loss": self.logged_loss(),
            "learning_rate": self.logged_rate(),
            "grad_norm": self.logged_norm(),
        }

    def claimed_updates(self) -> int:
        """global_step."""
        return self.updates

    def claimed_epoch(self) -> float:
        """e + micro_batches_done / M."""
        return self.epoch + self.done_in_epoch / self.M

    def logged_loss(self) -> float:
        """Mean over the updates since the last entry."""
        return sum(self.interval) / len(self.interval)

    def logged_rate(self) -> float:
        """The rate that the update used."""
        return self.rate

    def logged_norm(self) -> float:
        """The norm before clipping."""
        return float(self.norm)

    def eval_is_due(self) -> bool:
        """Every eval_steps updates and after the last."""
        return self.is_due(self.eval_every)

    def save_is_due(self) -> bool:
        """Every save_steps updates and after the last."""
        return self.is_due(self.save_every)

    def is_due(self, every: int) -> bool:
        """Every so many updates, and after the last."""
        return bool(every) and (self.updates % every == 0 or self.is_finished())

    def evaluate(self) -> None:
        """One pass over the evaluation rows."""
        import torch

        self.model.eval()
        with torch.no_grad():
            for batch in torch.utils.data.DataLoader(self.eval_dataset, batch_size=2):
                self.model(**batch)
        self.model.train()

    def save(self) -> None:
        """Write a checkpoint by its Hugging Face name."""
        import torch

        directory = Path(self.args.output_dir) / f"checkpoint-{self.updates}"
        directory.mkdir(parents=True, exist_ok=True)
        torch.save(self.state(), directory / "loop.pt")

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "order": self.order,
            "interval": self.interval,
            **{name: getattr(self, name) for name in ("epoch", "done_in_epoch", "updates", "micro_batches")},
            "input_tokens": self.input_tokens,
        }

    def restore(self) -> None:
        """Go on from the newest checkpoint."""
        import torch

        newest = max(
            Path(self.args.output_dir).glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1])
        )
        state = torch.load(newest / "loop.pt", weights_only=False)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.restore_schedule(state)
        self.restore_order(state)
        self.interval = state["interval"]
        for name in ("epoch", "done_in_epoch", "updates", "micro_batches", "input_tokens"):
            setattr(self, name, state[name])
        self.skip = self.skipped_micro_batches(state)

    def restore_schedule(self, state: dict[str, Any]) -> None:
        """Put the schedule where it was."""
        self.schedule.load_state_dict(state["schedule"])

    def restore_order(self, state: dict[str, Any]) -> None:
        """Draw the interrupted pass again in the order that it had."""
        self.generator.set_state(state["order"])

    def skipped_micro_batches(self, state: dict[str, Any]) -> int:
        """Return the micro-batches of the pass that are done; none of a new pass where it was complete."""
        if state["done_in_epoch"] == self.M:
            for _ in self.loader:  # the complete pass draws its order, and the next one its own
                pass
            self.epoch += 1
            return 0
        return int(state["done_in_epoch"])

    def planned(self) -> int:
        """The announced total."""
        return self.T

    def claimed_tokens(self) -> int:
        """Tokens that it says it has seen."""
        return self.input_tokens

    def claims(self) -> dict[str, Any]:
        """What is claimed at the end."""
        return {
            "global_step": self.claimed_updates(),
            "epoch": self.claimed_epoch(),
            "planned_steps": self.planned(),
            "num_input_tokens_seen": self.claimed_tokens(),
        }


def label_tokens(batch: Batch) -> int:
    """Label tokens of a micro-batch: labels other than -100, after the causal shift."""
    return int((batch["labels"][:, 1:] != -100).sum())
