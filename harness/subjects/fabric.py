"""Subject `fabric`: a loop on `lightning.Fabric`, accumulating as Fabric's documentation describes it."""

from __future__ import annotations

from typing import Any

from ...scenarios import Precision, Scenario, Tier
from ..ledger import Claims
from .environment import Environment
from .lightning import LIGHTNING
from .overlay import overlay
from .subject import MODEL_LOSS, Bench, common_limits, schedule_limits

__all__ = ["FabricLoop"]


class FabricLoop:
    """`setup`, `setup_dataloaders`, `no_backward_sync`, `backward`, `clip_gradients`, `save`, `load`.

    Fabric leaves the loop to its user: "you are in control of which model accumulates and at what frequency". This one
    updates after A micro-batches and at the end of the pass, and divides a loss by the micro-batches of its window.
    """

    name = "fabric"
    contract = "fabric"
    packages = ("torch", "transformers", "lightning")
    imports = ("lightning.fabric", "transformers.optimization", "stepaudit.harness.subjects.loop_parts")
    own_process = False
    fingerprint = ""
    prints_claims = False

    def __init__(self) -> None:
        self.environment: Environment | None = overlay("lightning", *LIGHTNING)

    def supports(self, scenario: Scenario) -> str | None:
        """One rank; the loss comes from the model."""
        limits = common_limits(scenario, protocols=MODEL_LOSS, contract=self.contract)
        return limits or schedule_limits(scenario, self.contract)

    def train(self, bench: Bench) -> Claims:
        """Train as the scenario asks."""
        from lightning.fabric import Fabric

        from .loop_parts import (
            Journal,
            build_optimizer,
            build_schedule,
            last_checkpoint,
            length_of,
            loader_of,
            target_of,
        )
        from .plain import windows_of

        scenario = bench.scenario
        fabric = Fabric(
            accelerator="gpu" if scenario.tier is Tier.GPU else "cpu",
            devices=1,
            precision="bf16-mixed" if scenario.precision is Precision.BF16 else "32-true",
        )
        plain = loader_of(bench)
        target = target_of(scenario, length_of(plain))
        model, optimizer = fabric.setup(bench.model, build_optimizer(scenario, bench.model))
        loader = fabric.setup_dataloaders(plain)
        schedule = build_schedule(scenario, optimizer.optimizer, target)
        state: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
        journal = Journal(
            bench, length_of(plain), target, {}, lambda path: fabric.save(path / "fabric.ckpt", state)
        )

        passes = skip = 0
        if bench.resume:
            checkpoint = last_checkpoint(bench.output_dir)
            place = journal.restore(checkpoint)
            fabric.load(checkpoint / "fabric.ckpt", state)
            passes, skip = place["passes"], place["done"]
            plain.generator.set_state(place["order"])
        model.train()
        while not journal.finished:
            order = plain.generator.get_state()  # the pass draws its order from it
            done = skip
            for done, window in windows_of(loader, scenario.grad_accum, skip):
                for number, batch in enumerate(window, start=1):
                    with fabric.no_backward_sync(model, enabled=number < len(window)):
                        loss = model(**batch).loss / len(window)
                        fabric.backward(loss)
                    journal.add_loss(loss.item())
                norm = None
                if scenario.max_grad_norm:
                    norm = fabric.clip_gradients(model, optimizer, max_norm=scenario.max_grad_norm)
                (rate, *_) = schedule.get_last_lr()
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                place = {"passes": passes, "done": done, "order": order}
                journal.updated(passes=passes, done=done, rate=rate, norm=norm, place=place)
                if journal.finished:
                    break
            if not done:
                break  # an iterable dataset that yields nothing
            passes, skip = passes + 1, 0
        return journal.close()
