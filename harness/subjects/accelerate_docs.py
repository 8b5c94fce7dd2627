"""Subject `accelerate` and its variants: the loop of Accelerate's own documentation, with `accumulate()`."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from ...scenarios import DatasetKind, Precision, Scenario, Tier
from ..ledger import Claims
from .environment import Environment
from .subject import MODEL_LOSS, Bench, common_limits, schedule_limits

__all__ = ["AccelerateDocs", "AccelerateVariant"]


class AccelerateVariant(StrEnum):
    """Which of Accelerate's settings differs from its default."""

    DEFAULT = "accelerate"
    SPLIT_BATCHES = "accelerate-split-batches"
    """`split_batches=True`: the loader's batch is shared out among the ranks; the schedule advances once an update"""
    OWN_SCHEDULE = "accelerate-own-schedule"
    """`step_scheduler_with_optimizer=False`: the loop advances its schedule itself, where gradients are complete"""
    UNEVEN_BATCHES = "accelerate-uneven-batches"
    """`even_batches=False`: no row is read twice to fill a last round"""


class AccelerateDocs:
    """usage_guides/gradient_accumulation, counting updates as Accelerate's examples with a `max_train_steps` do."""

    packages = ("torch", "transformers", "accelerate")
    imports = ("accelerate", "stepaudit.harness.subjects.loop_parts")
    environment: Environment | None = None
    own_process = False
    fingerprint = ""
    prints_claims = False

    def __init__(self, variant: AccelerateVariant = AccelerateVariant.DEFAULT) -> None:
        self._variant = variant
        self.name = variant.value
        once = variant in {AccelerateVariant.SPLIT_BATCHES, AccelerateVariant.OWN_SCHEDULE}
        self.contract = "accelerate-once" if once else "accelerate-accumulate"

    def supports(self, scenario: Scenario) -> str | None:
        """The loss comes from the model; what Accelerate's loader refuses with an error is left out."""
        empty = scenario.drop_last and scenario.rows < scenario.per_device_batch_size
        if empty and scenario.dataset is DatasetKind.ITERABLE:
            return "drop_last leaves no micro-batch: Accelerate's loader raises on an iterable that yields nothing"
        if scenario.dataset is DatasetKind.ITERABLE and scenario.resume_at is not None:
            return "dataset iterable: the documented resume counts in lengths of the loader"
        if self._variant is AccelerateVariant.UNEVEN_BATCHES and scenario.ranks > 1:
            return "even_batches off on several ranks: a rank without a last micro-batch needs join_uneven_inputs"
        limits = common_limits(scenario, protocols=MODEL_LOSS, contract=self.contract, on_ranks=True)
        return limits or schedule_limits(scenario, self.contract)

    def train(self, bench: Bench) -> Claims:
        """Train as the scenario asks."""
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, GradientState
        from torch.utils.data import DataLoader

        from .loop_parts import (
            Journal,
            build_optimizer,
            build_schedule,
            last_checkpoint,
            length_of,
            loader_of,
            target_of,
        )

        AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001  the library's own way between runs
        GradientState._reset_state()  # noqa: SLF001
        scenario = bench.scenario
        precision = {Precision.FP32: "no", Precision.BF16: "bf16"}[scenario.precision]
        accelerator = Accelerator(
            gradient_accumulation_steps=scenario.grad_accum,
            mixed_precision=precision,
            cpu=scenario.tier is not Tier.GPU,
            **_loader_settings(self._variant),
            step_scheduler_with_optimizer=self._variant is not AccelerateVariant.OWN_SCHEDULE,
        )
        shared = accelerator.num_processes if self._variant is AccelerateVariant.SPLIT_BATCHES else 1
        loader = accelerator.prepare(loader_of(bench, shared_by=shared))
        per_epoch = length_of(loader)
        target = target_of(scenario, per_epoch)
        optimizer = build_optimizer(scenario, bench.model)
        # By default the prepared schedule advances once for every process: Accelerate's examples multiply by them.
        times = accelerator.num_processes if self.contract == "accelerate-accumulate" else 1
        schedule = build_schedule(scenario, optimizer, target, times=times)
        model, optimizer, schedule = accelerator.prepare(bench.model, optimizer, schedule)

        evaluation = DataLoader(bench.eval_dataset, batch_size=scenario.per_device_batch_size * shared)
        journal = Journal(
            bench,
            per_epoch,
            target,
            {},
            lambda path: accelerator.save_state(str(path)),
            evaluation=accelerator.prepare(evaluation) if scenario.eval_steps else None,
        )
        passes, skip, norm = 0, 0, None
        if bench.resume:
            checkpoint = last_checkpoint(bench.output_dir)
            passes, skip = divmod(journal.restore(checkpoint)["micro_batches"], per_epoch or 1)
            accelerator.load_state(str(checkpoint))
        model.train()
        while not journal.finished:
            done = skip
            if hasattr(loader, "set_epoch"):  # since 0.26
                loader.set_epoch(passes)
            active = accelerator.skip_first_batches(loader, skip) if skip else loader
            for done, batch in enumerate(active, start=skip + 1):
                with accelerator.accumulate(model):
                    loss = model(**batch).loss
                    accelerator.backward(loss)
                    journal.add_loss(loss.item() / scenario.grad_accum)
                    if accelerator.sync_gradients and scenario.max_grad_norm:
                        norm = accelerator.clip_grad_norm_(model.parameters(), scenario.max_grad_norm)
                    (rate, *_) = schedule.get_last_lr()
                    optimizer.step()
                    if self._variant is not AccelerateVariant.OWN_SCHEDULE or accelerator.sync_gradients:
                        schedule.step()
                    optimizer.zero_grad()
                if accelerator.sync_gradients:
                    place = {"micro_batches": passes * (per_epoch or 0) + done}
                    journal.updated(passes=passes, done=done, rate=rate, norm=norm, place=place)
                if journal.finished:
                    break
            if not done:
                break  # an iterable dataset that yields nothing
            passes, skip = passes + 1, 0
        return journal.close()


def _loader_settings(variant: AccelerateVariant) -> dict[str, Any]:
    """Return the arguments of `Accelerator` that say how loaders are prepared."""
    settings = {
        "split_batches": variant is AccelerateVariant.SPLIT_BATCHES,
        "even_batches": variant is not AccelerateVariant.UNEVEN_BATCHES,
    }
    try:
        from accelerate.utils import DataLoaderConfiguration
    except ImportError:  # before 0.28
        return settings
    # else no order can be resumed
    return {"dataloader_config": DataLoaderConfiguration(use_seedable_sampler=True, **settings)}
