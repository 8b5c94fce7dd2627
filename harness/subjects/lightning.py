"""Subject `lightning`: `lightning.Trainer` with automatic optimization, as its documentation shows it."""

from __future__ import annotations

from typing import Any

from ...scenarios import DatasetKind, LossProtocol, Precision, Scenario, Tier
from ..contract import contract_named, terms_of
from ..ledger import Claims
from .environment import Environment
from .overlay import overlay
from .subject import Bench, common_limits, schedule_limits

__all__ = ["LIGHTNING", "LightningTrainer"]

LIGHTNING = ("lightning==2.6.6", "lightning-utilities==0.15.3", "torchmetrics==1.9.0")
"""Lightning, and what it imports besides the base environment"""


class LightningTrainer:
    """`accumulate_grad_batches`, `max_steps`, `max_epochs`, a schedule by the step, and a plain `DataLoader`."""

    name = "lightning"
    contract = "lightning"
    packages = ("torch", "transformers", "lightning")
    imports = ("lightning.pytorch", "transformers.optimization", "stepaudit.harness.subjects.loop_parts")
    own_process = False
    fingerprint = ""
    prints_claims = False

    def __init__(self) -> None:
        self.environment: Environment | None = overlay("lightning", *LIGHTNING)

    def supports(self, scenario: Scenario) -> str | None:
        """Whole epochs; what has no counterpart in Lightning's Trainer is left out."""
        terms = terms_of(scenario, contract_named(self.contract))
        if scenario.max_steps == 0:
            return "max_steps 0: Lightning's Trainer makes no update then, where epochs are asked for"
        if not scenario.epochs.is_integer():
            return f"epochs {scenario.epochs:g}: max_epochs is a whole number"
        if scenario.dataset is DatasetKind.ITERABLE and (scenario.max_steps or 0) > terms.T:
            return "dataset iterable that ends before max_steps: nothing says how long its schedule must be"
        if scenario.eval_steps and terms.M % terms.A and terms.T >= terms.U:
            return "eval_steps over short windows: val_check_interval counts micro-batches, not updates"
        if scenario.eval_steps and scenario.dataset is DatasetKind.ITERABLE:
            return "eval_steps with an iterable dataset: Lightning also validates at the end of each pass"
        if scenario.ranks > 1 and scenario.dataset is DatasetKind.ITERABLE:
            return f"dataset iterable on {scenario.ranks} ranks: Lightning leaves dealing out its rows to the dataset"
        if scenario.drop_last and scenario.rows % scenario.ranks:
            return (
                "drop_last on several ranks: the sampler that Lightning puts in fills the ranks up before it"
            )
        limits = common_limits(scenario, contract=self.contract, on_ranks=True)
        return limits or schedule_limits(scenario, self.contract)

    def train(self, bench: Bench) -> Claims:
        """Fit a LightningModule around the model; what Lightning claims is what its Trainer's properties say."""
        from lightning.pytorch import Callback, Trainer
        from lightning.pytorch.callbacks import ModelCheckpoint
        from torch.utils.data import DataLoader

        from .loop_parts import loader_of

        scenario, claims = bench.scenario, bench.claims

        class Witness(Callback):  # type: ignore[misc]  # typed only where Lightning is installed
            """Passes on what the Trainer says, when it says it."""

            def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:
                del pl_module, checkpoint
                claims.saved(trainer.global_step)

            def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
                del pl_module
                claims.evaluated(trainer.global_step)

        callbacks: list[Any] = [Witness()]
        if scenario.save_steps:
            callbacks.append(
                ModelCheckpoint(bench.output_dir, every_n_train_steps=scenario.save_steps, save_top_k=-1)
            )
        trainer = Trainer(
            accelerator="gpu" if scenario.tier is Tier.GPU else "cpu",
            devices=scenario.ranks,
            strategy="ddp" if scenario.ranks > 1 else "auto",
            max_steps=scenario.max_steps or -1,
            max_epochs=int(scenario.epochs),
            accumulate_grad_batches=scenario.grad_accum,
            gradient_clip_val=scenario.max_grad_norm or None,
            precision="bf16-mixed" if scenario.precision is Precision.BF16 else "32-true",
            callbacks=callbacks,
            enable_checkpointing=bool(scenario.save_steps),
            num_sanity_val_steps=0,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **_validation(scenario),
        )
        module = _module(bench)
        evaluation = DataLoader(bench.eval_dataset, batch_size=scenario.per_device_batch_size)
        newest = max(bench.output_dir.glob("*.ckpt"), key=_written) if bench.resume else None
        trainer.fit(
            module,
            loader_of(bench),
            evaluation if scenario.eval_steps else None,
            ckpt_path=None if newest is None else str(newest),
        )
        return Claims(
            global_step=trainer.global_step,
            epoch=trainer.current_epoch,  # an integer names a pass
            planned_steps=None if module.planned is None else {"estimated_stepping_batches": module.planned},
            saved_at=tuple(claims.saved_at) if scenario.save_steps else None,
            evaluated_at=tuple(claims.evaluated_at) if scenario.eval_steps else None,
        )


def _validation(scenario: Scenario) -> dict[str, Any]:
    if not scenario.eval_steps:
        return {"limit_val_batches": 0}
    return {
        "val_check_interval": scenario.eval_steps * scenario.grad_accum,
        "check_val_every_n_epoch": None,
    }


def _written(path: Any) -> int:
    """Return the step of a checkpoint `epoch=1-step=4.ckpt`."""
    return int(path.stem.rpartition("step=")[2].partition("-")[0])


def _module(bench: Bench) -> Any:
    from lightning.pytorch import LightningModule

    from .loop_parts import build_optimizer, build_schedule, label_tokens
    from .token_losses import token_losses

    scenario = bench.scenario

    class Module(LightningModule):  # type: ignore[misc]  # typed only where Lightning is installed
        """The model, its loss, and the schedule that Lightning's documentation builds from its own estimate."""

        planned: int | None = None

        def __init__(self) -> None:
            super().__init__()
            self.model = bench.model

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            del batch_idx
            outputs = self.model(**batch)
            if scenario.loss_protocol is LossProtocol.OVERRIDDEN:
                return token_losses(outputs, batch["labels"]).sum() / label_tokens(batch)
            return outputs.loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            del batch_idx
            self.model(**batch)

        def configure_optimizers(self) -> Any:
            total = int(self.trainer.estimated_stepping_batches)
            if scenario.dataset is DatasetKind.SIZED:
                self.planned = total
            optimizer = build_optimizer(scenario, self.model)
            schedule = build_schedule(scenario, optimizer, total)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    return Module()
