"""What the probes write: each real moment once, and nothing that did not happen."""

from __future__ import annotations

import warnings

import pytest
import torch
from stepaudit.harness.ledger import (
    Backward,
    Clipped,
    EpochBegan,
    Evaluated,
    Fetched,
    Forward,
    GradsZeroed,
    OptimizerStep,
    SchedulerStep,
)
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Subset
from watched import watching


def sgd(seen, **changes):
    return torch.optim.SGD(seen.model.parameters(), **({"lr": 0.1} | changes))


class TestSchedulers:
    """An advance is one, whoever makes it."""

    BUILDERS = {  # noqa: RUF012
        "lambda": lambda opt: lr_scheduler.LambdaLR(opt, lambda k: 0.5**k),
        "step": lambda opt: lr_scheduler.StepLR(opt, 2),
        "one cycle": lambda opt: lr_scheduler.OneCycleLR(
            opt, max_lr=1.0, total_steps=20, cycle_momentum=False
        ),
        "restarts": lambda opt: lr_scheduler.CosineAnnealingWarmRestarts(opt, 3),
        "sequential": lambda opt: lr_scheduler.SequentialLR(
            opt, [lr_scheduler.ConstantLR(opt), lr_scheduler.ExponentialLR(opt, 0.9)], milestones=[2]
        ),
        "chained": lambda opt: lr_scheduler.ChainedScheduler(
            [lr_scheduler.ConstantLR(opt), lr_scheduler.ExponentialLR(opt, 0.9)]
        ),
    }

    @pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
    def test_three_advances(self, build):
        """The advance in the constructor, and those inside another scheduler, are not counted."""
        with watching() as seen, warnings.catch_warnings():
            # torch 2.13 passes an epoch inside SequentialLR, and no update precedes these advances
            warnings.simplefilter("ignore", UserWarning)
            optimizer = sgd(seen)
            scheduler = build(optimizer)
            for _ in range(3):
                scheduler.step()
        assert len(seen.of(SchedulerStep)) == 3
        assert seen.of(SchedulerStep)[-1].learning_rates == (optimizer.param_groups[0]["lr"],)

    def test_plateau(self):
        """ReduceLROnPlateau takes the metric and counts like the others."""
        with watching() as seen:
            scheduler = lr_scheduler.ReduceLROnPlateau(sgd(seen))
            scheduler.step(1.0)
        assert len(seen.of(SchedulerStep)) == 1

    def test_accelerate(self):
        """The wrapped scheduler and its wrapper are one."""
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(reset_partial_state=True)
        accelerator = Accelerator(cpu=True)
        with watching() as seen:
            optimizer = sgd(seen)
            scheduler = lr_scheduler.ConstantLR(optimizer)
            model, optimizer, scheduler = accelerator.prepare(seen.model, optimizer, scheduler)
            accelerator.backward(model(**seen.batch(0)).loss)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        assert [len(seen.of(kind)) for kind in (OptimizerStep, SchedulerStep, GradsZeroed)] == [1, 1, 1]


class TestGradScaler:
    """A scaler that finds infinities suppresses the update; the attempt is in the ledger as a skipped step."""

    @pytest.mark.parametrize("fused", [False, True], ids=["scaler skips", "fused kernel skips"])
    @pytest.mark.parametrize("bad", [torch.inf, torch.nan])
    def test_suppressed(self, fused, bad):
        """One good update, one suppressed: both attempts are seen, one is counted, rates are known."""
        with watching() as seen:
            optimizer = torch.optim.AdamW(seen.model.parameters(), lr=0.1, fused=fused)
            scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
            before = []
            for factor in (1.0, bad):
                before.append(seen.model.rows.detach().clone())
                scaler.scale(seen.model(**seen.batch(0, 1)).loss * factor).backward()
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
            after = seen.model.rows.detach().clone()
        attempts = seen.of(OptimizerStep)
        assert [attempt.suppressed for attempt in attempts] == [False, True]
        assert [attempt.learning_rates for attempt in attempts] == [(0.1,)] * 2
        assert torch.equal(before[1], after), "the suppressed update changed nothing"
        assert (seen.account.optimizer_steps, seen.account.skipped_steps) == (1, 1)
        assert attempts[0].weights == pytest.approx({0: 1 / 8, 1: 1 / 8}, rel=1e-12)
        assert (
            attempts[0].grad_norm == pytest.approx((2 * 0.25) ** 0.5, rel=1e-12) or attempts[0].grad_norm > 0
        )

    def test_unscaled_before_a_clip(self):
        """Weights are those of the unscaled gradient."""
        with watching() as seen:
            optimizer = torch.optim.AdamW(seen.model.parameters(), lr=0.1, fused=True)
            scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
            scaler.scale(seen.model(**seen.batch(0, 1)).loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(seen.model.parameters(), 100.0)
            scaler.step(optimizer)
            scaler.update()
        (update,) = seen.of(OptimizerStep)
        assert update.weights == {0: 0.125, 1: 0.125}
        assert seen.of(Clipped)[0].total_norm == pytest.approx(0.5**0.5)

    def test_disabled_scaler(self):
        """A disabled scaler is no attempt of its own."""
        with watching() as seen:
            optimizer = sgd(seen)
            scaler = torch.amp.GradScaler("cpu", enabled=False)
            scaler.scale(seen.model(**seen.batch(0)).loss).backward()
            scaler.step(optimizer)
        assert len(seen.of(OptimizerStep)) == 1


class TestOptimizers:
    """Updates with the gradient and the rates that they used."""

    def test_closure(self):
        """The gradient that a closure computes is the one that is noted."""
        with watching() as seen:
            optimizer = sgd(seen)

            def closure():
                optimizer.zero_grad()
                loss = seen.model(**seen.batch(2, 3)).loss
                loss.backward()
                return loss

            returned = optimizer.step(closure)
        (update,) = seen.of(OptimizerStep)
        assert update.weights == {2: 0.125, 3: 0.125}
        assert returned is not None
        assert seen.account.windows == (1,)

    def test_closure_by_keyword(self):
        """`step(closure=...)` is the same."""
        with watching() as seen:
            optimizer = sgd(seen)

            def closure():
                seen.model(**seen.batch(4)).loss.backward()

            optimizer.step(closure=closure)
        assert seen.of(OptimizerStep)[0].weights == {4: 0.25}

    def test_lbfgs_counts_its_last_evaluation(self):
        """LBFGS calls its closure several times in one update: one update, the window of the last evaluation."""
        with watching() as seen:
            optimizer = torch.optim.LBFGS(seen.model.parameters(), max_iter=3)

            def closure():
                optimizer.zero_grad()
                loss = (seen.model(**seen.batch(0)).loss + 3.0) ** 2
                loss.backward()
                return loss

            optimizer.step(closure)
        assert seen.account.optimizer_steps == 1
        assert seen.account.windows == (1,)

    def test_groups(self):
        """One rate a group."""
        with watching() as seen:
            optimizer = torch.optim.SGD(
                [{"params": [seen.model.rows]}, {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.5}],
                lr=0.1,
            )
            seen.model(**seen.batch(0)).loss.backward()
            optimizer.step()
        assert seen.of(OptimizerStep)[0].learning_rates == (0.1, 0.5)

    def test_another_model_is_not_watched(self):
        """An optimizer over other parameters leaves no trace, nor does its clip or its zeroing."""
        with watching() as seen:
            other = torch.nn.Linear(2, 1)
            optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
            other(torch.ones(1, 2)).sum().backward()
            torch.nn.utils.clip_grad_norm_(other.parameters(), 0.1)
            optimizer.step()
            optimizer.zero_grad()
            other.zero_grad()
        assert seen.events == ()

    def test_a_gradient_zeroed_before_the_update_belongs_to_no_window(self):
        """What is zeroed is unstepped, and the window is what came after."""
        with watching() as seen:
            optimizer = sgd(seen)
            seen.model(**seen.batch(0)).loss.backward()
            optimizer.zero_grad()
            seen.model(**seen.batch(1)).loss.backward()
            optimizer.step()
        assert [item.rows for item in seen.account.unstepped] == [(0,)]
        assert [item.rows for item in seen.account.updates[0].window] == [(1,)]

    def test_clip_of_a_generator(self):
        """A generator of parameters is clipped and recorded."""
        with watching() as seen:
            seen.model(**seen.batch(0)).loss.backward()
            norm = torch.nn.utils.clip_grad_norm_((parameter for parameter in seen.model.parameters()), 0.5)
        assert seen.of(Clipped) == [Clipped(max_norm=0.5, total_norm=float(norm))]
        assert float(seen.model.rows.grad.norm()) == pytest.approx(0.5, rel=1e-5)


class TestForwards:
    """A micro-batch is a training forward; what a gradient reaches is its backward."""

    @pytest.mark.parametrize("protocol", ["none", "honoured", "ignored"])
    def test_scale(self, protocol):
        """The factor between the model's loss and the gradient is what the trainer multiplied with."""
        with watching(loss_protocol=protocol) as seen:
            (seen.model(**seen.batch(0, 1)).loss / 4).backward()
        assert seen.of(Backward) == [Backward(micro_batch=0, scale=0.25)]
        assert seen.of(Forward)[0].rows == (0, 1)

    def test_divisor(self):
        """The divisor that a trainer hands over is recorded, as a tensor or a number."""
        with watching() as seen:
            seen.model(**seen.batch(0), num_items_in_batch=torch.tensor(9))
            seen.model(**seen.batch(0), num_items_in_batch=9)
        assert [forward.divisor for forward in seen.of(Forward)] == [9.0, 9.0]

    def test_loss_from_logits(self):
        """A trainer's own loss is a backward without a known scale, once a micro-batch."""
        with watching() as seen:
            output = seen.model(**seen.batch(0))
            (output.logits.sum() + output.token_losses.sum()).backward()
        assert {backward.micro_batch for backward in seen.of(Backward)} == {0}
        assert seen.account.micro_batches == 1

    def test_forward_without_backward(self):
        """It is in the ledger, and in no window."""
        with watching() as seen:
            seen.model(**seen.batch(0))
        assert (seen.account.micro_batches, seen.account.forwards_without_backward) == (0, 1)

    def test_evaluation_passes(self):
        """Two passes over the evaluation rows are two evaluations; a training forward ends one."""
        with watching() as seen:
            seen.model.eval()
            with torch.no_grad():
                for _ in range(2):
                    for batch in DataLoader(seen.workload.eval_dataset, batch_size=1):
                        seen.model(**batch)
            seen.model.train()
            seen.model(**seen.batch(0)).loss.backward()
        assert [event.rows for event in seen.of(Evaluated)] == [2, 2]
        assert len(seen.of(Forward)) == 1


def train_on(seen, batches):
    optimizer = sgd(seen)
    for batch in batches:
        seen.model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


class TestPasses:
    """Epochs are the passes that training used."""

    def epochs(self, seen):
        return [forward.epoch for forward in seen.of(Forward)]

    def test_two_passes(self):
        """The plain case."""
        with watching() as seen:
            loader = DataLoader(seen.dataset, batch_size=4, shuffle=True)
            train_on(seen, loader)
            train_on(seen, loader)
        assert self.epochs(seen) == [0, 0, 1, 1]
        assert [event.epoch for event in seen.of(EpochBegan)] == [0, 1]
        assert [event.epoch for event in seen.of(Fetched)] == [0, 0, 1, 1]

    @pytest.mark.parametrize("batch_size", [1, 4])
    def test_peek(self, batch_size):
        """A peek at a batch is no pass, whatever its rows, and its rows are marked as unused."""
        with watching() as seen:
            loader = DataLoader(seen.dataset, batch_size=batch_size)
            for _ in range(2):
                next(iter(loader))
                train_on(seen, loader)
        count = 8 // batch_size
        assert self.epochs(seen) == [0] * count + [1] * count
        assert [event.epoch for event in seen.of(EpochBegan)] == [0, 1]
        assert [event.epoch for event in seen.of(Fetched)] == [-1, *[0] * count, -1, *[1] * count]

    @pytest.mark.parametrize("forwards", [True, False], ids=["evaluated", "only read"])
    def test_a_pass_inside_a_pass(self, forwards):
        """Reading all training data in the middle of an epoch changes nothing of it."""
        with watching() as seen:
            optimizer = sgd(seen)
            for batch in DataLoader(seen.dataset, batch_size=2, shuffle=True):
                seen.model(**batch).loss.backward()
                optimizer.step()
                seen.model.eval()
                for inner in DataLoader(seen.dataset, batch_size=4, shuffle=True):
                    if forwards:
                        with torch.no_grad():
                            seen.model(**inner)
                seen.model.train()
            train_on(seen, DataLoader(seen.dataset, batch_size=4))
        assert self.epochs(seen) == [0, 0, 0, 0, 1, 1]

    def test_reuse(self):
        """Batches that are fetched once and used in every epoch."""
        with watching() as seen:
            batches = list(DataLoader(seen.dataset, batch_size=4))
            for _ in range(3):
                train_on(seen, batches)
        assert self.epochs(seen) == [0, 0, 1, 1, 2, 2]

    def test_a_batch_used_twice_stays_in_its_pass(self):
        """Two updates from one batch are no new epoch while the pass goes on."""
        with watching() as seen:
            for batch in DataLoader(seen.dataset, batch_size=4):
                train_on(seen, [batch, batch])
        assert self.epochs(seen)[:3] == [0, 0, 0]

    def test_subset_and_split(self):
        """A wrapper around the dataset is the dataset."""
        with watching() as seen:
            subset = Subset(seen.dataset, range(6))
            for _ in range(2):
                train_on(seen, DataLoader(subset, batch_size=3))
        assert self.epochs(seen) == [0, 0, 1, 1]

    def test_no_loader(self):
        """Rows by index: an epoch ends when a row comes again."""
        with watching() as seen:
            for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3]):
                train_on(seen, [seen.batch(row) for row in order])
        assert self.epochs(seen) == [0] * 4 + [1] * 4 + [2] * 2

    def test_iterable(self):
        """An iterable dataset counts its own passes, peeks left out."""
        with watching(dataset="iterable", max_steps=1) as seen:
            loader = DataLoader(seen.dataset, batch_size=4)
            next(iter(loader))
            for _ in range(2):
                train_on(seen, loader)
        assert self.epochs(seen) == [0, 0, 1, 1]

    def test_dropped_rows_of_an_earlier_pass(self):
        """Rows that were fetched and never used do not pull a later micro-batch into their pass."""
        with watching() as seen:
            for _ in range(3):
                train_on(seen, list(DataLoader(seen.dataset, batch_size=2, shuffle=True))[:3])
        assert self.epochs(seen) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
