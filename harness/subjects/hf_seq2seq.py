"""Subject `hf-seq2seq`: `transformers.Seq2SeqTrainer` as it comes."""

from __future__ import annotations

from typing import Any

from .hf import HfTrainer

__all__ = ["HfSeq2Seq"]


class HfSeq2Seq(HfTrainer):
    """The Seq2SeqTrainer of the installed (or overlaid) release; it trains any model that Trainer trains."""

    name = "hf-seq2seq"
    imports = ("transformers.trainer_seq2seq", "stepaudit.harness.subjects.hf_arguments")

    def classes(self) -> tuple[Any, Any]:
        """Return the trainer's class and that of its arguments."""
        from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments

        return Seq2SeqTrainer, Seq2SeqTrainingArguments
