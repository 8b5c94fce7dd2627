"""Subject `fused`: this project's own fine-tuning loop with fused kernels, `harness/training`."""

from __future__ import annotations

from typing import Any

from ...scenarios import DatasetKind, Precision, Scenario
from ..contract import contract_named, terms_of
from ..ledger import Claims, LogEntry
from .environment import Environment
from .subject import MODEL_LOSS, Bench, common_limits, schedule_limits

__all__ = ["FusedLoop"]


class FusedLoop:
    """`fine_tune` with the settings that a scenario asks for; a model that is no Llama trains with its own code."""

    name = "fused"
    contract = "fused"
    packages = ("torch", "transformers")
    imports = ("stepaudit.harness.training.loop",)
    environment: Environment | None = None
    own_process = False
    fingerprint = ""
    prints_claims = False

    def supports(self, scenario: Scenario) -> str | None:
        """A model that computes its loss; what the loop refuses with an error is left out."""
        if scenario.max_steps == 0:
            return "max_steps 0: the loop refuses to make no update, and asks for -1 where epochs are meant"
        if terms_of(scenario, contract_named(self.contract)).M == 0:
            return "drop_last leaves no micro-batch: the loop refuses data that give none"
        if scenario.ranks > 1 and scenario.dataset is DatasetKind.ITERABLE:
            return f"dataset iterable on {scenario.ranks} ranks: the loop refuses it, for it cannot deal the rows out"
        limits = common_limits(
            scenario, protocols=MODEL_LOSS, precisions=tuple(Precision), contract=self.contract, on_ranks=True
        )
        return limits or schedule_limits(scenario, self.contract)

    def train(self, bench: Bench) -> Claims:
        """Train as the scenario asks."""
        from ..training.events import Event, Logged, Saved
        from ..training.loop import fine_tune
        from .loop_parts import process_group

        scenario, claims = bench.scenario, bench.claims

        def note(event: Event) -> None:
            match event:
                case Logged(entry=entry) if "loss" in entry:
                    claims.logged(_log_entry(entry))
                case Logged(entry=entry) if "eval_loss" in entry:
                    claims.evaluated(int(entry["step"]))
                case Saved():
                    claims.saved(event.global_step)
                case _:
                    pass

        with process_group():
            result = fine_tune(
                bench.model,
                bench.train_dataset,
                _config(bench),
                eval_dataset=bench.eval_dataset if scenario.eval_steps else None,
                resume_from=bench.resume or None,
                on_event=note,
            )
        return Claims(
            global_step=result.global_step,
            epoch=result.epoch,
            planned_steps={"state": result.max_steps},
            log=tuple(claims.log),
            saved_at=tuple(claims.saved_at) if scenario.save_steps else None,
            evaluated_at=tuple(claims.evaluated_at) if scenario.eval_steps else None,
            input_tokens=result.num_input_tokens_seen,
        )


def _config(bench: Bench) -> Any:
    from ..training.config import TrainingConfig

    scenario = bench.scenario
    return TrainingConfig(
        max_steps=-1 if scenario.max_steps is None else scenario.max_steps,
        num_train_epochs=scenario.epochs,
        per_device_train_batch_size=scenario.per_device_batch_size,
        per_device_eval_batch_size=scenario.per_device_batch_size,
        gradient_accumulation_steps=scenario.grad_accum,
        dataloader_drop_last=scenario.drop_last,
        learning_rate=scenario.learning_rate,
        optim=scenario.optimizer.value,
        lr_scheduler_type=scenario.lr_schedule.value,
        warmup_steps=scenario.warmup_steps,
        max_grad_norm=scenario.max_grad_norm,
        output_dir=str(bench.output_dir),
        seed=scenario.seed,
        shuffle=scenario.shuffle,
        bf16=scenario.precision is Precision.BF16,
        fp16=scenario.precision is Precision.FP16,
        **_cadence("logging", scenario.logging_steps),
        **_cadence("eval", scenario.eval_steps),
        **_cadence("save", scenario.save_steps),
    )


def _cadence(what: str, every: int) -> dict[str, Any]:
    return {f"{what}_strategy": "steps", f"{what}_steps": every} if every else {f"{what}_strategy": "no"}


def _log_entry(entry: Any) -> LogEntry:
    return LogEntry(
        global_step=int(entry["step"]),
        epoch=entry["epoch"],  # an integer names a pass whose length is not known yet
        loss=float(entry["loss"]),
        learning_rate=float(entry["learning_rate"]),
        grad_norm=float(entry["grad_norm"]),
        input_tokens=int(entry["num_input_tokens_seen"]),
    )
