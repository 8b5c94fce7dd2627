"""pytest-torch 1.1.1: its training-loop checks, called as its guide says, on every loop that is named.

Four checks have something to say about a training loop:

* `assert_accumulation_equivalent`: A micro-batches against one full batch, the user's own step for both;
* `run_training` with `assert_no_skipped_updates`, `assert_finite`, `assert_grad_norm_below`, `assert_lr`: a step is one
  window here, so that every step must update once. What the rate and the norm should be, the user says;
* `assert_mixed_precision_training`, for the loops with a grad scaler;
* `assert_optimizer_coverage` (part of `assert_healthy`).

It drives the steps itself: how many there are, and which rows, the loop is told. So the loop runs in a thread that is
handed one micro-batch at a time, and what it does when it is not fed (overrun, wrong epochs) is out of sight.
`assert_resume_equivalent` is not called: it feeds the resumed loop itself, from the right batch on, while these loops
find their place in the data themselves.
"""

from __future__ import annotations

import functools
import math
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import arena
from arena import SETTINGS, Setting
from pytest_torch import (
    TrainingSetup,
    assert_accumulation_equivalent,
    assert_mixed_precision_training,
    run_training,
)

#: What it says where it names a cause, and not only which numbers differ.
CAUSES = (
    "Likely cause",
    "premature optimizer step",
    "missing optimizer step",
    "extra optimizer step",
    "no optimizer step",
    "Unexpected learning rates",
    "before scaler.unscale_()",
)


# ---- the adapter that a user would write: a loop that owns its control flow becomes a step
class Fed:
    """A whole loop that runs in a thread and is handed its micro-batches one by one."""

    def __init__(self, loop: Any) -> None:
        self.loop, self.batches, self.asks = loop, queue.Queue(), threading.Semaphore(0)
        self.error: BaseException | None = None
        self.sample = arena.batch_of([0, 1])
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        loop.make_loader = lambda: self
        loop.prepare()
        loop.prepare = lambda: None

    def __len__(self) -> int:
        return self.loop.length

    def __iter__(self) -> Iterator[Any]:
        if threading.current_thread() is not self.thread:  # a loop that looks at the data before it trains
            yield self.sample
            return
        for _ in range(len(self)):
            self.asks.release()
            batch = self.batches.get()
            if batch is None:
                raise SystemExit
            yield batch

    def run(self) -> None:
        """The thread."""
        try:
            self.loop.run()
        except BaseException as error:  # noqa: BLE001
            self.error = error
        self.over.set()
        self.asks.release()

    def update(self, batch: Any) -> Any:
        """Hand over one micro-batch and wait until the loop wants the next, or is done."""
        if not self.thread.is_alive() and not self.over.is_set():
            self.thread.start()
            self.wait()
        if not self.over.is_set():
            self.batches.put(batch)
            self.wait()
        if self.error is not None:
            raise self.error
        return self.loop.window_loss

    def wait(self) -> None:
        """Until the loop asks for a micro-batch, or ends."""
        if not self.asks.acquire(timeout=30):
            raise RuntimeError(
                "the loop neither asked for a micro-batch nor ended: it cannot be driven step by step"
            )

    def stop(self) -> None:
        """End the thread."""
        if self.thread.is_alive():
            self.batches.put(None)
            self.thread.join(5)


# ---- its end


class Checks:
    """The checks of one loop."""

    def __init__(self, name: str, scratch: str) -> None:
        self.kind = arena.loop_class(name)
        self.scratch = scratch
        self.fed: list[Fed] = []

    def setup(self, setting: Setting) -> Callable[[], TrainingSetup]:
        """Return `make_setup` for a setting."""

        def make_setup() -> TrainingSetup:
            loop = arena.new_loop(self.kind, arena.new_model(), setting, self.scratch)
            loop.length = setting.M
            fed = Fed(loop)
            self.fed.append(fed)
            made = TrainingSetup(loop.model, loop.optimizer, scaler=getattr(loop, "scaler", None))
            made.fed = fed
            return made

        return make_setup

    def accumulation(self) -> str | None:
        """Four micro-batches against one batch of their rows; two epochs of two windows each."""
        k = 4
        setting = Setting(rows=16, B=2, A=k, epochs=2)
        data = [arena.batch_of(range(start, start + 8)) for start in (0, 8, 0, 8)]

        def make_step(accumulation: int) -> Callable[[Any, Any], Any]:
            def update(made: Any, batch: Any) -> Any:
                loop = made.fed.loop
                if not made.fed.thread.is_alive():  # the loop's plan, for this many micro-batches
                    loop.A = loop.args.gradient_accumulation_steps = accumulation
                    loop.length = loop.M = 2 * accumulation
                return made.fed.update(batch)

            return update

        return self._failure(
            lambda: assert_accumulation_equivalent(
                self.setup(setting), data, make_step, accumulation_steps=k, cycles=len(data)
            )
        )

    def telemetry(self, setting: Setting) -> str | None:
        """A step is a window; the contract's rates and the clipping limit are what the user expects."""
        windows = [
            [arena.batch_of(rows) for rows in window]
            for epoch in arena.windows_due(setting)
            for window in epoch
        ]

        def update(made: Any, window: Any) -> Any:
            for batch in window:
                loss = made.fed.update(batch)
            return loss

        def run() -> None:
            done = run_training(self.setup(setting), windows, update, steps=len(windows)).assert_finite()
            if not setting.warmup:  # a rate of 0 in the first update counts as a skipped one
                done.assert_healthy()
            done.assert_lr([0.1 * factor(setting, update) for update in range(setting.T)], rtol=1e-5)
            if setting.limit:
                done.assert_grad_norm_below(setting.limit * 1.001)

        return self._failure(run)

    def mixed_precision(self) -> str | None:
        """Sixteen windows in float16; the scaler begins so high that many are suppressed."""
        setting = Setting(rows=16, B=2, A=2, max_steps=1000, limit=0.05, fp16=True)
        windows = [[arena.batch_of([row, row + 1]) for row in (at, at + 2)] for at in range(0, 16, 4)]

        def update(made: Any, window: Any) -> Any:
            for batch in window:
                loss = made.fed.update(batch)
            return loss

        return self._failure(
            lambda: assert_mixed_precision_training(
                self.setup(setting), windows, update, steps=40, max_skipped_fraction=0.8
            )
        )

    def _failure(self, check: Callable[[], object]) -> str | None:
        try:
            check()
        except AssertionError as error:
            return str(error)
        finally:
            for fed in self.fed:
                fed.stop()
            self.fed.clear()
        return None


def factor(setting: Setting, update: int) -> float:
    """The schedule's factor in update `update`, counted from 0."""
    if update < setting.warmup:
        return update / setting.warmup
    share = (update - setting.warmup) / max(1, setting.T - setting.warmup)
    return 1 - share if setting.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * share))


def main() -> None:
    """Names on the command line; an answer a line."""
    scratch = tempfile.mkdtemp()
    for name in sys.argv[1:]:
        checks = Checks(name, scratch)
        began = time.process_time()
        found: list[str] = []
        errors: list[str] = []
        todo = [("accumulation", checks.accumulation)] + [
            (f"run_training, {setting.name}", functools.partial(checks.telemetry, setting))
            for setting in SETTINGS
        ]
        if arena.loop_class(name).mixed_precision:
            todo.append(("mixed precision", checks.mixed_precision))
        for title, check in todo:
            try:
                failure = check()
            except Exception as error:  # noqa: BLE001
                errors.append(f"{title}: {type(error).__name__}: {error}")
                continue
            if failure is not None:
                found.append(f"{title}: {failure}")
        outcome = "error" if errors else "missed"
        if found:
            outcome = (
                "caught" if any(cause in text for text in found for cause in CAUSES) else "caught but unnamed"
            )
        arena.tell(
            name=name, outcome=outcome, text=(found or errors or [""])[0], checks=len(todo),
            failing=len(found), seconds=time.process_time() - began,
        )  # fmt: skip


if __name__ == "__main__":
    main()
