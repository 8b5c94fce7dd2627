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
        protocols = (LossProtocol.NONE, LossProtocol.HONOURED, LossProtocol.IGNORED)
        return common_limits(scenario, protocols=protocols) or schedule_limits(scenario, self.contract)

    def train(self, bench: Bench) -> Claims:
        """Train as the scenario asks."""
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, GradientState

        from .loop_parts import Journal, build_optimizer, build_schedule, length_of, loader_of, target_of

        AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001  the library's own way between runs
        GradientState._reset_state()  # noqa: SLF001
        scenario = bench.scenario
        loader = loader_of(bench)
        per_epoch = length_of(loader)
        target = target_of(scenario, per_epoch)
        optimizer = build_optimizer(scenario, bench.model)
        schedule = build_schedule(scenario, optimizer, target)
        journal = Journal(bench, per_epoch, target)
        precision = {Precision.FP32: "no", Precision.BF16: "bf16"}[scenario.precision]
        accelerator = Accelerator(
            gradient_accumulation_steps=scenario.grad_accum, mixed_precision=precision, cpu=True
        )
        model, optimizer, loader, schedule = accelerator.prepare(bench.model, optimizer, loader, schedule)

        passes, norm = 0, None
        model.train()
        while not journal.finished:
            done = 0
            for done, batch in enumerate(loader, start=1):
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
                    journal.updated(passes=passes, done=done, rate=rate, norm=norm)
                if journal.finished:
                    break
            if not done:
                break  # an iterable dataset that yields nothing
            passes += 1
        return journal.close()
