"""Wrong loops, one decision wrong in each: the negative twins of the rules. `train(model, dataset, args)` each."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from correct_loops import Loop, tokens_of

__all__ = ["TWINS"]


class EpochsMultiply(Loop):
    def run(self):
        self.model.train()
        for _ in range(math.ceil(self.args.num_train_epochs)):
            goal = self.updates + self.goal
            while self.updates < goal:
                self.in_pass = 0
                for window in self.windows():
                    self.in_pass += len(window)
                    self.train_window(window)
                    if self.updates >= goal:
                        break
                self.end_pass()
        return self.claims()


def epochs_multiply_max_steps(model, dataset, args):
    """The epoch loop runs max_steps updates in every epoch."""
    return EpochsMultiply(model, dataset, args).run()


class StopsEarly(Loop):
    def run(self):
        self.limit = self.goal
        self.goal -= 1
        return super().run()

    def claims(self):
        return super().claims() | {"planned_steps": self.limit}


def stops_one_early(model, dataset, args):
    """One update too few."""
    return StopsEarly(model, dataset, args).run()


class CountsMicroBatches(Loop):
    def claims(self):
        return super().claims() | {"global_step": self.micro_batches}


def claims_micro_batches(model, dataset, args):
    """`global_step` counts micro-batches."""
    return CountsMicroBatches(model, dataset, args).run()


class PlansByRows(Loop):
    def claims(self):
        return super().claims() | {"planned_steps": len(self.dataset)}


def plans_rows(model, dataset, args):
    """The announced total counts rows."""
    return PlansByRows(model, dataset, args).run()


class LongWindow(Loop):
    def windows(self):
        window = []
        for batch in self.loader:
            window.append(batch)
            if len(window) == self.accum + 1:
                yield window
                window = []
        if window:
            yield window


def window_of_one_more(model, dataset, args):
    """Off by one: accumulates A + 1 micro-batches."""
    return LongWindow(model, dataset, args).run()


class CrossesEpochs(Loop):
    def windows(self):
        self.rest = getattr(self, "rest", [])
        for batch in self.loader:
            self.rest.append(batch)
            if len(self.rest) == self.accum:
                yield self.rest
                self.rest = []


def window_crosses_epochs(model, dataset, args):
    """The short window of an epoch is filled up from the next one."""
    return CrossesEpochs(model, dataset, args).run()


class DropsTail(Loop):
    def end_pass(self):
        super().end_pass()
        self.optimizer.zero_grad()

    def windows(self):
        for window in super().windows():
            if len(window) == self.accum:
                yield window
            else:
                for batch in window:
                    self.loss_of(batch, tokens_of(batch)).backward()


def tail_is_zeroed(model, dataset, args):
    """The short last window is computed, zeroed and never stepped."""
    return DropsTail(model, dataset, args).run()


class NeverComputesTail(Loop):
    def windows(self):
        return (window for window in super().windows() if len(window) == self.accum)


def tail_is_skipped(model, dataset, args):
    """The short last window is never computed."""
    return NeverComputesTail(model, dataset, args).run()


class SkipsFirst(Loop):
    def windows(self):
        for number, window in enumerate(super().windows()):
            yield [self.first, *window[1:]] if number and self.passes else window
            self.first = window[0]


def row_twice_an_epoch(model, dataset, args):
    """In later epochs every window begins with the micro-batch that began the window before it."""
    return SkipsFirst(model, dataset, args).run()


class MeansOfMeans(Loop):
    def loss_of(self, batch, total):
        return self.model(**batch).loss / self.size

    def backward(self, window):
        self.size = len(window)
        super().backward(window)


def mean_of_means(model, dataset, args):
    """Every micro-batch weighs the same, so that tokens of short rows count more."""
    return MeansOfMeans(model, dataset, args).run()


class NotDivided(Loop):
    def loss_of(self, batch, total):
        return self.model(**batch).loss


def loss_not_divided(model, dataset, args):
    """The loss is not divided by the accumulation."""
    return NotDivided(model, dataset, args).run()


class DividesByAccum(Loop):
    def loss_of(self, batch, total):
        return self.model(**batch).loss / self.accum


def short_window_under_scaled(model, dataset, args):
    """Divides by A also where the window is shorter."""
    return DividesByAccum(model, dataset, args).run()


class ZeroOncePerEpoch(Loop):
    def zero(self):
        pass

    def end_pass(self):
        super().end_pass()
        self.optimizer.zero_grad()


def zero_once_per_epoch(model, dataset, args):
    """Gradients are zeroed once an epoch."""
    return ZeroOncePerEpoch(model, dataset, args).run()


class SchedulerPerMicroBatch(Loop):
    def backward(self, window):
        for batch in window[1:]:
            del batch
            self.optimizer._opt_called = True  # torch would warn that no update came between the advances
            self.scheduler.step()
        super().backward(window)


def scheduler_per_micro_batch(model, dataset, args):
    """The schedule advances once a micro-batch."""
    return SchedulerPerMicroBatch(model, dataset, args).run()


class ScheduleOfFloor(Loop):
    def make_scheduler(self):
        goal, self.goal = self.goal, self.goal // 2
        try:
            return super().make_scheduler()
        finally:
            self.goal = goal


def schedule_of_half_the_length(model, dataset, args):
    """The schedule is built for half the updates."""
    return ScheduleOfFloor(model, dataset, args).run()


class ExtraAdvance(Loop):
    def after_update(self):
        super().after_update()
        if self.updates == 2:
            self.scheduler.step()


def one_advance_too_many(model, dataset, args):
    """A second advance after update 2, invisible in the rates of a constant schedule."""
    return ExtraAdvance(model, dataset, args).run()


class EpochOfUpdates(Loop):
    def epoch(self):
        return self.passes + self.in_pass / (len(self.loader) + 1)


def epoch_of_a_longer_loader(model, dataset, args):
    """The logged epoch divides by one micro-batch too many."""
    return EpochOfUpdates(model, dataset, args).run()


class LogsLastMicroBatch(Loop):
    def entry(self):
        return super().entry() | {"loss": self.last}

    def loss_of(self, batch, total):
        loss = super().loss_of(batch, total)
        self.last = loss.item() * total / tokens_of(batch)
        return loss


def logs_the_last_micro_batch(model, dataset, args):
    """The logged loss is that of the last micro-batch."""
    return LogsLastMicroBatch(model, dataset, args).run()


class LogsNextRate(Loop):
    def entry(self):
        return super().entry() | {"learning_rate": self.optimizer.param_groups[0]["lr"]}


def logs_the_next_rate(model, dataset, args):
    """The logged rate is read after the schedule advanced."""
    return LogsNextRate(model, dataset, args).run()


class LogsClippedNorm(Loop):
    def entry(self):
        return super().entry() | {"grad_norm": min(self.norm, self.args.max_grad_norm)}


def logs_the_clipped_norm(model, dataset, args):
    """The logged gradient norm is the one after clipping."""
    return LogsClippedNorm(model, dataset, args).run()


class LogsFromZero(Loop):
    def entry(self):
        return super().entry() | {"step": self.updates - 1}


def logs_from_zero(model, dataset, args):
    """The logged step is 0-based."""
    return LogsFromZero(model, dataset, args).run()


class SavesLate(Loop):
    def after_update(self):
        self.updates += 1
        due = self.is_due(self.args.save_steps)
        self.updates -= 1
        if due:
            (Path(self.args.output_dir) / f"checkpoint-{self.updates}").mkdir()

    def is_due(self, every, at_end=False):
        return not at_end and super().is_due(every)


def saves_one_early(model, dataset, args):
    """Checkpoints come one update early, and none at the end."""
    return SavesLate(model, dataset, args).run()


class NoLastEvaluation(Loop):
    def is_due(self, every, at_end=False):
        return super().is_due(every)


def no_last_evaluation(model, dataset, args):
    """No evaluation after the last update."""
    return NoLastEvaluation(model, dataset, args).run()


class ClipsEveryMicroBatch(Loop):
    def loss_of(self, batch, total):
        if any(parameter.grad is not None for parameter in self.model.parameters()):
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
        return super().loss_of(batch, total)


def clips_every_micro_batch(model, dataset, args):
    """The gradient is clipped before each further micro-batch."""
    return ClipsEveryMicroBatch(model, dataset, args).run()


class NeverClips(Loop):
    def clip(self):
        self.norm = float(torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters()]))
        assert self.args.max_grad_norm


def never_clips(model, dataset, args):
    """Reads max_grad_norm and does not clip."""
    return NeverClips(model, dataset, args).run()


class CountsPadding(Loop):
    def count_tokens(self, batch):
        return batch["input_ids"].numel()


def counts_padding(model, dataset, args):
    """The claimed tokens include padding."""
    return CountsPadding(model, dataset, args).run()


TWINS = {
    "target": (epochs_multiply_max_steps, stops_one_early),
    "claim": (claims_micro_batches,),
    "plan": (plans_rows,),
    "window": (window_of_one_more,),
    "remainder": (window_crosses_epochs, tail_is_zeroed, tail_is_skipped),
    "coverage": (row_twice_an_epoch,),
    "weight": (mean_of_means, loss_not_divided, short_window_under_scaled),
    "leak": (zero_once_per_epoch,),
    "schedule": (scheduler_per_micro_batch, schedule_of_half_the_length, one_advance_too_many),
    "epoch": (epoch_of_a_longer_loader,),
    "log": (logs_the_last_micro_batch, logs_the_next_rate, logs_the_clipped_norm, logs_from_zero),
    "save": (saves_one_early,),
    "eval": (no_last_evaluation,),
    "clip": (clips_every_micro_batch, never_clips),
    "tokens": (counts_padding,),
}
"""the loops that break each rule"""
