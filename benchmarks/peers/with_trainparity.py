"""TrainParity 0.1.0: its three checks, as its API page says, on every loop that is named.

* `check_accumulation` runs a loop of its own over one window, in three fresh processes; of the user's loop it takes
  model, optimizer, schedule and the loss of a micro-batch. Here the loss is the one that the seeded loop itself would
  send backward (full window; then a short one). Its plan has flags for what a loop may do around that (clip or advance
  at every micro-batch); whoever sets one knows the fault already, so that none is set.
* `audit_sample_coverage` reads row numbers that the user's loop reports, an epoch a window. It runs the whole loop.
* `check_resume` runs the user's own command (`resume_run`) in fresh processes, for the loops that can resume; the
  checkpoint is the loop's own, after update 2 of 6 (within an epoch) and, if that passes, 3 (at its end).
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import arena
import torch
from arena import SETTINGS, Setting
from stepaudit.scenarios.faults import FAULTS, Family
from trainparity import ExactlyOnce, Outcome, audit_sample_coverage, check_accumulation
from trainparity.api import (
    AccumulationExecutionPlan,
    LossAccounting,
    ProcessExecutionPlan,
    SampleObservation,
    ToleranceComparison,
    TrainingState,
    check_resume,
)

#: Parts of the loop that decide what `check_accumulation` compares; a fault elsewhere cannot reach it. (It takes the
#: schedule too, the same one for the control and the candidate.)
LOSSES = {"loss", "divisor", "factor", "relabelled", "pack"}
HANDED_OVER = {*LOSSES, "make_optimizer"}
WINDOW = Setting(rows=16, B=2, A=4)
#: The check that is about a family: where it fails, the fault is named, otherwise it only shows.
NAMES: dict[Family, tuple[str, ...]] = dict.fromkeys(Family, ()) | {
    Family.TARGET: ("coverage",),
    Family.BOUNDARY: ("coverage",),
    Family.LOSS: ("accumulation",),
    Family.TOKENS: ("accumulation", "coverage"),
    Family.RESUME: ("resume",),
}


# ---- the adapter that a user would write
class Window:
    """The case of one window: the seeded loop's loss for each of its micro-batches."""

    equivalence = "the same rows in one window; every label token weighs the same"
    name = ""
    micro_batches = 4

    def build(self, seed: int, device: str) -> TrainingState:
        """The loop's own model, optimizer and schedule."""
        del device
        self.loop = arena.new_loop(
            arena.loop_class(self.name), arena.new_model(seed), WINDOW, tempfile.gettempdir()
        )
        self.loop.prepare()
        return TrainingState(self.loop.model, self.loop.optimizer, self.loop.schedule)

    def batch(self, device: str) -> Any:
        """The window's rows."""
        del device
        return [arena.batch_of(range(at, at + 2)) for at in range(0, 2 * self.micro_batches, 2)]

    def split_batch(self, batch: Any, count: int) -> list[Any]:
        """One whole batch for the control, else the micro-batches."""
        if count == 1:
            return [(0, [_joined(batch)], True)]
        return [(index, batch, False) for index in range(count)]

    def loss(self, state: TrainingState, item: Any) -> LossAccounting:
        """The loss as the loop sends it backward; the control is the token mean."""
        index, window, is_control = item
        if is_control:
            return LossAccounting(state.model(**window[0]).loss)
        if index == 0:
            self.window = self.as_trained(window)
            self.divisor = self.loop.divisor(self.window)
        return LossAccounting(self.loop.loss(self.window[index], self.divisor, self.window))

    def as_trained(self, window: list[Any]) -> list[Any]:
        """The window as it reaches the loop's losses: relabelled or packed, where the loop does that."""
        kept: list[list[Any]] = []
        self.loop.accumulate, self.loop.update = kept.append, lambda: None
        self.loop.train_window(window)
        return kept[0] if kept else window


def _joined(batches: list[Any]) -> Any:
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


class Reporter:
    """A model hook that reports the rows of every training forward, as the coverage audit wants them."""

    def __init__(self, loop: Any) -> None:
        self.seen: list[SampleObservation] = []
        self.counts: dict[int, int] = {}
        loop.model.register_forward_pre_hook(lambda *hook: self.report(loop, hook), with_kwargs=True)

    def report(self, loop: Any, hook: Any) -> None:
        """One forward."""
        if not loop.model.training:
            return
        for row in arena.rows_of(hook[2]["input_ids"]):
            position = self.counts[loop.epoch] = self.counts.get(loop.epoch, -1) + 1
            self.seen.append(SampleObservation(row, rank=0, epoch=loop.epoch, position=position))


def coverage(name: str, setting: Setting, scratch: str) -> str | None:
    """Every row once an epoch, in the epochs asked for, and none in any other."""
    loop = arena.new_loop(arena.loop_class(name), arena.new_model(), setting, scratch)
    reporter = Reporter(loop)
    loop.run()
    observed = {item.epoch for item in reporter.seen} | set(range(setting.epochs))
    for epoch in sorted(observed):
        rows = range(setting.rows) if epoch < setting.epochs else ()
        result = audit_sample_coverage(
            [item for item in reporter.seen if item.epoch == epoch], ExactlyOnce(rows)
        )
        if result.outcome is not Outcome.PASS:
            return f"epoch {epoch}: {result.outcome.value}: {result.message} {result.first_violation}"
    return None


class Resumed:
    """The case of a resumed run: how the loop is started, and what of its checkpoint is looked at."""

    name = ""
    split_step = 2
    total_step = 6

    def command(self, plan: ProcessExecutionPlan) -> list[str]:
        """Run up to an update, from the start or from a checkpoint."""
        script = str(Path(__file__).with_name("resume_run.py"))
        return [
            sys.executable,
            script,
            self.name,
            str(plan.run_dir),
            str(plan.end_step),
            str(plan.resume_from or ""),
        ]

    def checkpoint_path(self, run_dir: Path) -> Path:
        """Where the command leaves it."""
        return run_dir / "checkpoint.pt"

    def observe_checkpoint(self, path: Path) -> dict[str, object]:
        """Weights, optimizer, schedule and how far the loop says it is."""
        state = torch.load(path, weights_only=False)
        return {
            name: state[name]
            for name in ("model", "optimizer", "schedule", "updates", "epoch", "done_in_epoch")
        }


# ---- its end


def resume(name: str, split: int) -> Any:
    """The resume check of a loop."""
    text = f"from with_trainparity import Resumed\nclass Case(Resumed):\n    name = {name!r}\n"
    with _case(f"{text}    split_step = {split}\n") as paths:
        return check_resume("case_of_this_loop:Case", environment={"PYTHONPATH": paths})


@contextlib.contextmanager
def _case(text: str) -> Iterator[str]:
    """Write a case that a fresh process can import, and give the import path."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "case_of_this_loop.py").write_text(text)
        sys.path.insert(0, directory)
        sys.modules.pop("case_of_this_loop", None)
        importlib.invalidate_caches()
        try:
            yield os.pathsep.join([directory, os.environ["PYTHONPATH"]])
        finally:
            sys.path.remove(directory)


def accumulation(name: str, micro_batches: int) -> Any:
    """The window of a loop, by a case that a fresh process can import."""
    text = (
        "from with_trainparity import Window\nclass Case(Window):\n"
        f"    name = {name!r}\n    micro_batches = {micro_batches}\n"
    )
    plan = AccumulationExecutionPlan(
        microbatch_count=micro_batches, scale_accumulated_loss=False, use_explicit_loss_accounting=False
    )
    with _case(text) as paths:
        return check_accumulation(
            "case_of_this_loop:Case",
            candidate=plan,
            comparison=ToleranceComparison(rtol=1e-4, atol=1e-6),
            environment={"PYTHONPATH": paths},
        )


def main() -> None:
    """Names on the command line; an answer a line."""
    scratch = tempfile.mkdtemp()
    for name in sys.argv[1:]:
        began, children = time.process_time(), _children()
        parts = arena.overridden(arena.loop_class(name))
        found: list[str] = []
        errors: list[str] = []
        abstained: list[str] = []
        checks = 0
        for setting in (item for item in SETTINGS if item.max_steps < 0 and not item.drop_last):
            checks += 1
            try:
                failure = coverage(name, setting, scratch)
            except Exception as error:  # noqa: BLE001
                errors.append(f"coverage, {setting.name}: {type(error).__name__}: {error}")
                continue
            if failure is not None:
                found.append(f"coverage, {setting.name}: {failure}")
        sizes = (4, 2) if parts & LOSSES else (4,) if parts & HANDED_OVER else ()
        for size in sizes:
            checks += 1
            result = accumulation(name, size)
            phase = result.first_observed_phase
            text = f"accumulation, window of {size}: {result.outcome.value} in {phase}: {result.message}"
            into = {Outcome.FAIL: found, Outcome.ABSTAIN: abstained, Outcome.ERROR: errors}
            if result.outcome is not Outcome.PASS:
                into[result.outcome].append(text)
                break
        for split in (2, 3) if arena.loop_class(name).resumes else ():
            checks += 1
            result = resume(name, split)
            text = f"resume at update {split}: {result.outcome.value}: {result.message} {result.primary_difference}"
            into = {Outcome.FAIL: found, Outcome.ABSTAIN: abstained, Outcome.ERROR: errors}
            if result.outcome is not Outcome.PASS:
                into[result.outcome].append(text)
                break
        # "The first observed violation, not a root-cause claim" (its README): which row, or which phase of the window.
        named = (
            any(text.startswith(NAMES[FAULTS[name].family]) for text in found) if name in FAULTS else False
        )
        outcome = (
            ("caught" if named else "caught but unnamed")
            if found
            else "error"
            if errors
            else "abstained"
            if abstained
            else "missed"
        )
        arena.tell(
            name=name, outcome=outcome, text=(found or errors or abstained or [""])[0], checks=checks,
            failing=len(found), seconds=time.process_time() - began + _children() - children,
        )  # fmt: skip


def _children() -> float:
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
