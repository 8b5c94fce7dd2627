"""Subject `hf`, the reference: `transformers.Trainer` as it comes."""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import version
from typing import Any

from ...scenarios import DatasetKind, LossProtocol, Scenario
from ..ledger import Claims
from .environment import Environment
from .subject import Bench, common_limits, schedule_limits

__all__ = ["HfTrainer"]


class HfTrainer:
    """The Trainer of the installed (or overlaid) transformers release."""

    name = "hf"
    packages = ("torch", "transformers", "accelerate")
    imports = ("transformers.trainer", "stepaudit.harness.subjects.hf_arguments")
    environment: Environment | None = None
    own_process = False
    fingerprint = ""
    prints_claims = False

    @cached_property
    def contract(self) -> str:
        """Semantics of the installed release: windows by epoch since 4.46."""
        major, minor = (int(part) for part in version("transformers").split(".")[:2])
        return "hf-5" if (major, minor) >= (4, 46) else "hf-4.45"

    def supports(self, scenario: Scenario) -> str | None:
        """Everything on one rank, except what Trainer itself refuses with an error."""
        empty = scenario.drop_last and scenario.rows < scenario.per_device_batch_size
        if empty and not scenario.max_steps and scenario.dataset is DatasetKind.SIZED:
            return "drop_last leaves no micro-batch: Trainer refuses a loader of length 0 without max_steps"
        return common_limits(scenario, contract=self.contract) or schedule_limits(scenario, self.contract)

    def train(self, bench: Bench) -> Claims:
        """Construct a Trainer by its public arguments and call `train()`."""
        from transformers import PrinterCallback

        from .hf_arguments import ClaimsCallback, claims_of_state, training_arguments

        scenario = bench.scenario
        trainer = _trainer_class(scenario.loss_protocol)(
            model=bench.model,
            args=training_arguments(scenario, bench.output_dir),
            train_dataset=bench.train_dataset,
            eval_dataset=bench.eval_dataset if scenario.eval_steps else None,
            callbacks=[ClaimsCallback(bench.claims)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=bench.resume)
        return claims_of_state(trainer, bench.claims, scenario)


def _token_losses(outputs: Any, labels: Any) -> Any:
    """Return the loss of every label: from the tracer, or by cross entropy from a model's logits."""
    if hasattr(outputs, "token_losses"):
        return outputs.token_losses
    from torch.nn.functional import cross_entropy

    logits = outputs.logits[:, :-1].float()
    return cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="none")


def _trainer_class(protocol: LossProtocol) -> Any:
    from transformers import Trainer

    if protocol is not LossProtocol.OVERRIDDEN:
        return Trainer

    class OverriddenLossTrainer(Trainer):
        """`compute_loss` overridden as the documentation of Trainer shows it, with the divisor it is given."""

        def compute_loss(
            self,
            model: Any,
            inputs: Any,
            return_outputs: bool = False,  # noqa: FBT001, FBT002  the signature of the base class
            num_items_in_batch: Any = None,
        ) -> Any:
            outputs = model(**inputs)
            if num_items_in_batch is None:  # evaluation
                num_items_in_batch = (inputs["labels"][..., 1:] != -100).sum()
            loss = _token_losses(outputs, inputs["labels"]).sum() / num_items_in_batch
            return (loss, outputs) if return_outputs else loss

    return OverriddenLossTrainer
