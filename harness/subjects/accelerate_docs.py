"""Subject `accelerate`: the loop of Accelerate's own documentation, with `accumulate()`."""

from __future__ import annotations

from ...scenarios import DatasetKind, LossProtocol, Precision, Scenario
from ..ledger import Claims
from .environment import Environment
from .subject import Bench, common_limits, schedule_limits

__all__ = ["AccelerateDocs"]


class AccelerateDocs:
    """usage_guides/gradient_accumulation, counting updates as Accelerate's examples with a `max_train_steps` do."""

    name = "accelerate"
    contract = "accelerate-accumulate"
    packages = ("torch", "transformers", "accelerate")
    imports = ("accelerate", "stepaudit.harness.subjects.loop_parts")
    environment: Environment | None = None
    own_process = False
    fingerprint = ""
    prints_claims = False

    def supports(self, scenario: Scenario) -> str | None:
        """One rank; the loss comes from the model; what Accelerate's loader refuses with an error is left out."""
        empty = scenario.drop_last and scenario.rows < scenario.per_device_batch_size
        if empty and scenario.dataset is DatasetKind.ITERABLE:
            return "drop_last leaves no micro-batch: Accelerate's loader raises on an iterable that yields nothing"
        if scenario.dataset is DatasetKind.ITERABLE and scenario.resume_at is not None:
            return "dataset iterable: the documented resume counts in lengths of the loader"
        protocols = (LossProtocol.NONE, LossProtocol.HONOURED, LossProtocol.IGNORED)
        limits = common_limits(scenario, protocols=protocols, contract=self.contract)
        return limits or schedule_limits(scenario, self.contract)

    def train(self, bench: Bench) -> Claims:
        """Train as the scenario asks."""
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, GradientState
        from accelerate.utils import DataLoaderConfiguration

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
        loader = loader_of(bench)
        per_epoch = length_of(loader)
        target = target_of(scenario, per_epoch)
        optimizer = build_optimizer(scenario, bench.model)
        schedule = build_schedule(scenario, optimizer, target)
        precision = {Precision.FP32: "no", Precision.BF16: "bf16"}[scenario.precision]
        accelerator = Accelerator(
            gradient_accumulation_steps=scenario.grad_accum,
            mixed_precision=precision,
            cpu=True,
            dataloader_config=DataLoaderConfiguration(
                use_seedable_sampler=True
            ),  # else no order can be resumed
        )
        model, optimizer, loader, schedule = accelerator.prepare(bench.model, optimizer, loader, schedule)

        journal = Journal(bench, per_epoch, target, {}, lambda path: accelerator.save_state(str(path)))
        passes, skip, norm = 0, 0, None
        if bench.resume:
            checkpoint = last_checkpoint(bench.output_dir)
            passes, skip = divmod(journal.restore(checkpoint)["micro_batches"], per_epoch or 1)
            accelerator.load_state(str(checkpoint))
        model.train()
        while not journal.finished:
            done = skip
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
