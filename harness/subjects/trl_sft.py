"""Subjects `trl-sft`, `trl-sft-packing`, `trl-sft-completion`: `trl.SFTTrainer`, which computes the loss itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from ...scenarios import DatasetKind, LengthProfile, ModelKind, Scenario
from ..contract import contract_named, terms_of
from ..ledger import Claims
from .environment import Environment, version_in
from .overlay import overlay
from .subject import Bench, common_limits, trainer_limits

__all__ = ["TrlSft", "Variant"]

DATASETS = ("datasets==5.2.0", "dill==0.4.1", "multiprocess==0.70.19", "xxhash==4.1.0")
"""`datasets`, and what it imports besides the base environment"""

OLDEST = (0, 17)
"""the first release of trl with a collator of its own"""


class Variant(StrEnum):
    """How the trainer is asked to build its rows and labels."""

    PLAIN = "trl-sft"
    """rows with labels, padded by TRL's collator"""
    PACKING = "trl-sft-packing"
    """`packing=True`: two rows a sequence, by TRL's best-fit packing"""
    COMPLETION = "trl-sft-completion"
    """`completion_only_loss=True`: labels built by TRL from `completion_mask`"""


class TrlSft:
    """SFTTrainer as it comes: fused head, gradient checkpointing, its own dataset preparation and collator."""

    packages: tuple[str, ...] = ("torch", "transformers", "accelerate", "trl", "datasets")
    imports: tuple[str, ...] = (
        "transformers.trainer",
        "trl",
        "datasets",
        "stepaudit.harness.subjects.hf_arguments",
    )
    takes_tracer = False
    own_process = False
    fingerprint = ""
    prints_claims = False

    def __init__(self, variant: Variant = Variant.PLAIN) -> None:
        self._variant = variant
        self.name = variant.value
        self.contract = "trl-sft-packing" if variant is Variant.PACKING else "trl-sft"
        self.environment: Environment | None = overlay("trl", "trl==1.16.0", *DATASETS)

    def supports(self, scenario: Scenario) -> str | None:
        """Real models on one rank, except what Trainer or the packing itself refuses."""
        if self.name.startswith("trl-") and (reason := _too_old(version_in("trl", self.environment))):
            return reason
        if scenario.model is ModelKind.TRACER:
            return "model tracer: SFTTrainer computes the loss from the backbone and the head of a real model"
        packing = self._variant is Variant.PACKING
        if packing and scenario.lengths is not LengthProfile.EQUAL:
            return "lengths ragged: how many sequences best-fit packing makes of them is no closed form"
        if packing and scenario.rows % 2 and scenario.drop_last:
            return "drop_last with an odd number of rows: the half-filled sequence may be among the dropped"
        if packing and scenario.dataset is DatasetKind.ITERABLE:
            return "dataset iterable: TRL packs it by batches of its map, not by the whole pass"
        empty = terms_of(scenario, contract_named(self.contract)).M == 0
        if empty and not scenario.max_steps and scenario.dataset is DatasetKind.SIZED:
            return "drop_last leaves no micro-batch: Trainer refuses a loader of length 0 without max_steps"
        return common_limits(scenario, contract=self.contract) or trainer_limits(scenario, self.contract)

    def train(self, bench: Bench) -> Claims:
        """Construct an SFTTrainer by its public arguments and call `train()`."""
        from transformers import PrinterCallback
        from trl import SFTConfig, SFTTrainer

        from .hf_arguments import ClaimsCallback, claims_of_state, training_arguments

        scenario = bench.scenario
        trainer = SFTTrainer(
            model=self._model(bench),
            args=training_arguments(scenario, bench.output_dir, SFTConfig, **self._changes(bench)),
            train_dataset=self._dataset(bench.train_dataset, scenario.dataset),
            eval_dataset=self._dataset(bench.eval_dataset) if scenario.eval_steps else None,
            processing_class=byte_tokenizer(),
            callbacks=[ClaimsCallback(bench.claims)],
        )
        _report_data(trainer, bench)
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=bench.resume)
        return claims_of_state(trainer, bench.claims, scenario)

    def _model(self, bench: Bench) -> Any:
        return bench.model

    def _changes(self, bench: Bench) -> dict[str, Any]:
        if self._variant is Variant.PACKING:
            longest = max(len(row["input_ids"]) for row in _rows_of(bench.train_dataset))
            return {"packing": True, "max_length": 2 * longest, "eval_packing": False}
        return {"completion_only_loss": True} if self._variant is Variant.COMPLETION else {}

    def _dataset(self, rows: Any, kind: DatasetKind = DatasetKind.SIZED) -> Any:
        import datasets

        columns = _masked if self._variant is Variant.COMPLETION else _labelled
        table = [columns(row) for row in _rows_of(rows)]
        if kind is DatasetKind.SIZED:
            return datasets.Dataset.from_list(table)
        return datasets.IterableDataset.from_generator(lambda: iter(table))


def _too_old(release: str) -> str | None:
    """Return why a release of trl is none that can be asked for, or None."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", release)[:2])
    if not numbers or numbers >= OLDEST:
        return None
    return f"trl {release}: audited from trl 0.17 on; the collator of older ones cannot pad the labels of ragged rows"


def _report_data(trainer: Any, bench: Bench) -> None:
    """Tell the probes which dataset the trainer's loader reads: Trainer copies it when it drops unused columns."""
    original = trainer.get_train_dataloader

    def reported() -> Any:
        loader = original()
        bench.adopt(loader.dataset)
        return loader

    trainer.get_train_dataloader = reported


def _rows_of(dataset: Any) -> Iterator[dict[str, list[int]]]:
    """Yield the rows as lists, without their padding, and without anybody being told that they were fetched."""
    for row in dataset.rows:
        length = int(row["attention_mask"].sum())
        yield {name: row[name][:length].tolist() for name in ("input_ids", "labels")}


def _labelled(row: dict[str, list[int]]) -> dict[str, list[int]]:
    return row


def _masked(row: dict[str, list[int]]) -> dict[str, list[int]]:
    return {
        "input_ids": row["input_ids"],
        "completion_mask": [int(label != -100) for label in row["labels"]],
    }


def byte_tokenizer() -> Any:
    """Return a tokenizer over the numeric tier's vocabulary; rows come tokenized, it only says what padding is."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    from ..workloads.text import BEGIN, END, PAD, VOCAB_SIZE

    rare = f"<{PAD}>"  # nothing is tokenized, so nothing is unknown
    words = {f"<{token}>": token for token in range(VOCAB_SIZE)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token=rare)),
        bos_token=f"<{BEGIN}>",
        eos_token=f"<{END}>",
        pad_token=f"<{PAD}>",
        unk_token=rare,
    )
