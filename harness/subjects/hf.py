"""Subject `hf`, the reference: `transformers.Trainer` as it comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ...scenarios import DatasetKind, LossProtocol, Scenario
from ..ledger import Claims
from .environment import Environment, version_in
from .subject import Bench, common_limits, trainer_limits
from .token_losses import token_losses

__all__ = ["HfTrainer", "contract_of_release"]


_EVAL_ROWS = 2
"""rows of the evaluation data, as `workloads/rows.py` makes them"""

_CONTRACTS = (((4, 46), "hf-4.45"), ((4, 47), "hf-4.46"), ((5, 0), "hf-4.57"))
"""releases before this one follow that contract"""


def contract_of_release(version: str) -> str:
    """Return the contract of a transformers release: windows by epoch since 4.47, losses not rounded since 5.0."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return next((contract for before, contract in _CONTRACTS if (major, minor) < before), "hf-5")


class HfTrainer:
    """The Trainer of the installed (or overlaid) transformers release."""

    name = "hf"
    packages: tuple[str, ...] = ("torch", "transformers", "accelerate")
    imports: tuple[str, ...] = ("transformers.trainer", "stepaudit.harness.subjects.hf_arguments")
    environment: Environment | None = None
    own_process = False
    fingerprint = ""
    prints_claims = False
    changes: ClassVar[Mapping[str, Any]] = {}
    """training arguments of a subject derived from this one"""

    @property
    def contract(self) -> str:
        """Semantics of the installed (or overlaid) release."""
        return contract_of_release(version_in("transformers", self.environment))

    def supports(self, scenario: Scenario) -> str | None:
        """Everything, except what Trainer itself refuses with an error."""
        empty = scenario.drop_last and scenario.rows < scenario.per_device_batch_size * scenario.ranks
        if empty and not scenario.max_steps and scenario.dataset is DatasetKind.SIZED:
            return "drop_last leaves no micro-batch: Trainer refuses a loader of length 0 without max_steps"
        if scenario.drop_last and scenario.eval_steps and scenario.ranks > _EVAL_ROWS:
            return f"eval_steps, drop_last, {scenario.ranks} ranks: Trainer drops the {_EVAL_ROWS} evaluation rows too"
        return common_limits(scenario, contract=self.contract, on_ranks=True) or trainer_limits(
            scenario, self.contract
        )

    def train(self, bench: Bench) -> Claims:
        """Construct a Trainer by its public arguments and call `train()`."""
        from transformers import PrinterCallback

        from .hf_arguments import ClaimsCallback, claims_of_state, training_arguments

        scenario = bench.scenario
        trainer_class, arguments_class = self.classes()
        if scenario.loss_protocol is LossProtocol.OVERRIDDEN:
            trainer_class = _with_own_loss(trainer_class)
        trainer = trainer_class(
            model=bench.model,
            args=training_arguments(scenario, bench.output_dir, arguments_class, **self.changes),
            train_dataset=bench.train_dataset,
            eval_dataset=bench.eval_dataset if scenario.eval_steps else None,
            callbacks=[ClaimsCallback(bench.claims)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=bench.resume)
        return claims_of_state(trainer, bench.claims, scenario)

    def classes(self) -> tuple[Any, Any]:
        """Return the trainer's class and that of its arguments."""
        from transformers import Trainer, TrainingArguments

        return Trainer, TrainingArguments


def _with_own_loss(trainer_class: Any) -> Any:
    class OverriddenLossTrainer(trainer_class):  # type: ignore[misc]  # a class that is chosen at run time
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
            loss = token_losses(outputs, inputs["labels"]).sum() / num_items_in_batch
            return (loss, outputs) if return_outputs else loss

    return OverriddenLossTrainer
