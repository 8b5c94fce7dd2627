"""One run: windows in, updates out, and a true account of both.

Order of one window, as in ``Trainer._run_epoch`` (transformers 5.x): forward and backward of each
micro-batch, gradient norm, clip, optimizer, schedule, then log, evaluation and checkpoint in that order.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .evaluation import evaluate
from .events import Handler, Logged, Saved, StopTraining, WindowFinished
from .progress import Interval, Progress
from .snapshot import save_run

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from .batches import DataSource, Window
    from .collation import Collator, PackedCollator
    from .config import TrainingConfig
    from .losses import LossCall
    from .plan import TrainingPlan
    from .precision import Precision
    from .ranks import Ranks
    from .schedule import Schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What a run is made of.

    Attributes:
        model: The model in training.
        config: The settings.
        plan: The counts.
        source: The training data.
        collate: Makes micro-batches.
        call: Asks the model for losses.
        optimizer: Changes the parameters.
        schedule: Sets its learning rate.
        precision: Autocast, loss scaling, clipping.
        ranks: The processes of the run.
        eval_dataset: Rows to evaluate on, or None.
        on_event: Is told what happens.
    """

    model: nn.Module
    config: TrainingConfig
    plan: TrainingPlan
    source: DataSource
    collate: Collator | PackedCollator
    call: LossCall
    optimizer: Optimizer
    schedule: Schedule
    precision: Precision
    ranks: Ranks
    eval_dataset: Any
    on_event: Handler


class Run:
    """A run in progress.

    Args:
        parts: What it is made of.
        progress: Where it stands; a new one, or that of a checkpoint.
    """

    def __init__(self, parts: Parts, progress: Progress) -> None:
        self._parts = parts
        self.progress = progress
        self.stopped = False
        self._began = time.monotonic()

    def train(self) -> None:
        """Train until the plan is done or an event handler ends it.

        Raises:
            ValueError: A pass over the data gave no micro-batch.
        """
        progress = self.progress
        if self._over():
            if not progress.end_acted:
                self._end_epoch()
        else:
            for epoch in itertools.count(progress.epoch + progress.epoch_exhausted):
                if epoch != progress.epoch:
                    progress.epoch, progress.micro_batches_done, progress.epoch_exhausted = epoch, 0, False
                self._one_epoch(epoch)
                if self._over():
                    break
        self._finish()

    def _one_epoch(self, epoch: int) -> None:
        progress = self.progress
        for window in self._parts.source.windows(epoch, skip_micro_batches=progress.micro_batches_done):
            self._one_window(window)
            if self._over():
                break
        else:
            progress.epoch_exhausted = True
            progress.known_length = progress.micro_batches_done
        if progress.micro_batches_done == 0:
            raise ValueError(
                f"epoch {epoch} gave no micro-batch after {progress.global_step} updates: no rows to train on"
            )
        self._end_epoch()

    def _end_epoch(self) -> None:
        """Do what the end of an epoch calls for; as in ``Trainer``, so does a run that ends amid one."""
        progress, config = self.progress, self._parts.config
        if progress.micro_batches_done == self._parts.plan.micro_batches_per_epoch:
            progress.epoch_exhausted = True
        progress.end_acted = True
        self._act(
            log=config.logging_strategy == "epoch",
            evaluation=config.eval_strategy == "epoch",
            save=config.save_strategy == "epoch",
        )

    def _one_window(self, window: Window) -> None:
        parts, progress = self._parts, self.progress
        totals = parts.ranks.total([window.label_tokens, window.input_tokens], parts.call.device)
        label_tokens, input_tokens = round(totals[0]), round(totals[1])
        loss = self._accumulate(window, divisor=max(label_tokens, 1))
        rate = parts.schedule.learning_rate()
        attempt = parts.precision.update(parts.optimizer, parts.ranks)
        parts.optimizer.zero_grad(set_to_none=True)
        progress.micro_batches_done += len(window.micro_batches)
        progress.end_acted = False
        progress.num_input_tokens_seen += input_tokens
        progress.claimed_epoch = parts.plan.epoch_after(
            epoch=progress.epoch,
            micro_batches_done=progress.micro_batches_done,
            known_length=progress.known_length,
        )
        if attempt.updated:
            parts.schedule.after_update()
            progress.global_step += 1
            progress.grad_norm, progress.learning_rate = attempt.grad_norm, rate
            for interval in (progress.interval, progress.whole):
                interval.add(window_mean=loss, label_tokens=label_tokens)
        else:
            progress.skipped += 1
        self._tell(
            WindowFinished(
                updated=attempt.updated,
                global_step=progress.global_step,
                epoch=progress.claimed_epoch,
                rows=window.rows,
                label_tokens=label_tokens,
                loss=loss,
                grad_norm=attempt.grad_norm,
                learning_rate=rate,
            )
        )
        if attempt.updated:
            self._after_update()

    def _accumulate(self, window: Window, *, divisor: int) -> float:
        parts = self._parts
        loss = torch.zeros((), dtype=torch.float64, device=parts.call.device)
        for batch in window.micro_batches:
            with parts.precision.autocast():
                share = parts.call(batch, divisor=divisor)
            if share is not None:
                parts.precision.backward(share)
                loss += share.detach()
        return parts.ranks.total([float(loss)], parts.call.device)[0]

    def _after_update(self) -> None:
        config, plan, at = self._parts.config, self._parts.plan, self.progress.global_step
        last = plan.is_done(global_step=at, skipped=self.progress.skipped)

        def due(strategy: str, amount: float) -> bool:
            return strategy == "steps" and at % plan.cadence(amount) == 0

        eval_amount = config.logging_steps if config.eval_steps is None else config.eval_steps
        self._act(
            log=due(config.logging_strategy, config.logging_steps) or (config.logging_first_step and at == 1),
            evaluation=due(config.eval_strategy, eval_amount) or (config.eval_strategy == "steps" and last),
            save=due(config.save_strategy, config.save_steps) or (config.save_strategy == "steps" and last),
        )

    def _act(self, *, log: bool, evaluation: bool, save: bool) -> None:
        if log and self.progress.interval.updates:
            self._log()
        if evaluation and self._parts.eval_dataset is not None:
            self._evaluate()
        if save:
            self._save()

    def _log(self) -> None:
        progress = self.progress
        assert progress.grad_norm is not None
        assert progress.learning_rate is not None
        self._enter(
            {
                "loss": progress.interval.token_mean,
                "window_mean_loss": progress.interval.window_mean,
                "grad_norm": progress.grad_norm,
                "learning_rate": progress.learning_rate,
                "num_label_tokens": progress.interval.label_tokens,
                "num_input_tokens_seen": progress.num_input_tokens_seen,
            }
        )
        progress.interval = Interval()

    def _evaluate(self) -> None:
        parts = self._parts
        figures = evaluate(
            parts.call,
            parts.eval_dataset,
            parts.config,
            collate=parts.collate,
            precision=parts.precision,
            ranks=parts.ranks,
        )
        self._enter(figures)
        parts.schedule.after_evaluation(figures["eval_loss"])

    def _save(self) -> None:
        parts = self._parts
        path = save_run(
            Path(parts.config.output_dir or "."),
            model=parts.model,
            optimizer=parts.optimizer,
            schedule=parts.schedule,
            precision=parts.precision,
            config=parts.config,
            plan=parts.plan,
            progress=self.progress,
            ranks=parts.ranks,
        )
        self._tell(Saved(path=path, global_step=self.progress.global_step))

    def _finish(self) -> None:
        self._enter(
            {
                "train_loss": self.progress.whole.token_mean,
                "train_runtime": time.monotonic() - self._began,
                "num_input_tokens_seen": self.progress.num_input_tokens_seen,
            }
        )

    def _enter(self, figures: dict[str, float]) -> None:
        entry = {**figures, "epoch": self.progress.claimed_epoch, "step": self.progress.global_step}
        self.progress.log_history.append(entry)
        self._tell(Logged(entry=entry))

    def _tell(self, event: Any) -> None:
        try:
            self._parts.on_event(event)
        except StopTraining:
            self.stopped = True

    def _over(self) -> bool:
        progress = self.progress
        return self.stopped or self._parts.plan.is_done(
            global_step=progress.global_step, skipped=progress.skipped
        )
