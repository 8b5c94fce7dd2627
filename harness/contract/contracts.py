"""The contracts: what a trainer's documentation promises, as values that a subject names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from ...scenarios import LossProtocol, ScenarioError, nearest

__all__ = ["CONTRACTS", "Contract", "Horizon", "LoggedLoss", "Reduction", "Windows", "contract_named"]


class Windows(StrEnum):
    """How micro-batches are grouped into windows."""

    PER_EPOCH = "per_epoch"
    """windows partition the epoch; its last one may be short and is stepped"""
    ACROSS_EPOCHS = "across_epochs"
    """every A-th micro-batch closes a window, also across an epoch's end"""


class Horizon(StrEnum):
    """When a run ends that is asked for `max_steps` and for epochs."""

    MAX_STEPS = "max_steps"
    """a positive `max_steps` overrides the epochs"""
    WHICHEVER_FIRST = "whichever_first"
    """after a positive `max_steps` of updates or after the epochs, whichever comes first"""


class Reduction(StrEnum):
    """What one label token weighs in an update."""

    TOKEN_MEAN = "token_mean"  # noqa: S105  not a password
    """1 / N: N label tokens of the window, over all ranks"""
    TOKEN_MEAN_OF_RANKS = "token_mean_of_ranks"  # noqa: S105  not a password
    """1 / (N_r·R): N_r label tokens of the window on its own rank, averaged over R ranks; on one rank 1 / N"""
    MEAN_OF_MEANS = "mean_of_means"
    """1 / (n·W·R): n label tokens of its micro-batch, W micro-batches of the window on each of R ranks"""
    MEAN_OVER_ACCUM = "mean_over_accum"
    """1 / (n·A·R): n label tokens of its micro-batch, A the accumulation asked for, also in a short window"""


class LoggedLoss(StrEnum):
    """Which loss an entry of the log carries."""

    MEAN_SINCE_LAST_LOG = "mean_since_last_log"
    TOKEN_MEAN_SINCE_LAST_LOG = "token_mean_since_last_log"  # noqa: S105  not a password
    """the mean over all label tokens since the last entry"""
    MEAN_OR_LAST = "mean_or_last"
    """the mean since the last entry, or the loss of the update itself: a trainer of one's own may do either"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """The promises that an account is judged by.

    Attributes:
        name: stable name, e.g. `hf-5`.
        title: one line for people.
        source: where the promise is written.
        windows: how windows are formed.
        floor_updates: U by floor (transformers before 4.46) instead of counting the short window.
        horizon: what ends a run that is asked for both, `max_steps` and epochs.
        rows_per_sequence: dataset rows that the trainer packs into one sequence of a micro-batch.
        reduction: weight of a label token, per loss protocol.
        logs_used_rate: a log entry carries the learning rate of its own update (else that of the next one).
        logged_loss: which loss a log entry carries.
        logged_decimals: decimals that logged losses are rounded to; None for no rounding.
        advances_per_rank: the schedule advances once for every rank at an update, and is built that much longer.
        evaluates_at_end: an evaluation after the last update, with `eval_steps`.
        saves_at_end: a checkpoint after the last update, with `save_steps`.
    """

    name: str
    title: str
    source: str
    windows: Windows = Windows.PER_EPOCH
    floor_updates: bool = False
    horizon: Horizon = Horizon.MAX_STEPS
    rows_per_sequence: int = 1
    reduction: Mapping[LossProtocol, Reduction]
    logs_used_rate: bool = True
    logged_loss: LoggedLoss = LoggedLoss.MEAN_SINCE_LAST_LOG
    logged_decimals: int | None = None
    advances_per_rank: bool = False
    evaluates_at_end: bool = True
    saves_at_end: bool = True


_ALWAYS_TOKEN_MEAN = dict.fromkeys(LossProtocol, Reduction.TOKEN_MEAN)

_TRL = _ALWAYS_TOKEN_MEAN | {LossProtocol.NONE: Reduction.MEAN_OF_MEANS}
"""Trainer counts no tokens for a model whose forward takes no keywords, whoever computes the loss"""

_HF_5 = Contract(
    name="hf-5",
    title="Hugging Face Trainer, transformers 5.x",
    source="transformers/trainer.py: set_initial_training_values, _run_epoch, training_step; TrainingArguments",
    reduction={
        LossProtocol.NONE: Reduction.MEAN_OF_MEANS,
        LossProtocol.HONOURED: Reduction.TOKEN_MEAN,
        LossProtocol.IGNORED: Reduction.MEAN_OF_MEANS,
        LossProtocol.OVERRIDDEN: Reduction.TOKEN_MEAN,
    },
)

_ALL = (
    _HF_5,
    replace(
        _HF_5,
        name="hf-5-own-tokens",
        title="Hugging Face Trainer with average_tokens_across_devices=False: every rank divides by its own tokens",
        source="transformers: TrainingArguments.average_tokens_across_devices; Trainer._get_num_items_in_batch",
        reduction={
            protocol: Reduction.TOKEN_MEAN_OF_RANKS if reduction is Reduction.TOKEN_MEAN else reduction
            for protocol, reduction in _HF_5.reduction.items()
        },
    ),
    Contract(
        name="hf-4.45",
        title="Hugging Face Trainer, transformers up to 4.45",
        source="transformers 4.45 trainer.py: _inner_training_loop (total_batched_samples)",
        windows=Windows.ACROSS_EPOCHS,
        floor_updates=True,
        reduction=dict.fromkeys(LossProtocol, Reduction.MEAN_OVER_ACCUM),
        logs_used_rate=False,
        logged_decimals=4,
        evaluates_at_end=False,
    ),
    replace(
        _HF_5,
        name="hf-4.46",
        title="Hugging Face Trainer, transformers 4.46: windows still cross epochs, but count their tokens",
        source="transformers 4.46 trainer.py: _inner_training_loop, get_batch_samples; PR 34191",
        windows=Windows.ACROSS_EPOCHS,
        floor_updates=True,
        logs_used_rate=False,
        logged_decimals=4,
        evaluates_at_end=False,
    ),
    replace(
        _HF_5,
        name="hf-4.57",
        title="Hugging Face Trainer, transformers 4.47 to 4.57",
        source="transformers 4.57 trainer.py: _inner_training_loop, _maybe_log_save_evaluate",
        logged_decimals=4,
        evaluates_at_end=False,
    ),
    replace(
        _HF_5,
        name="token-mean",
        title="Hugging Face counts, every label token of a window equal",
        source="DESIGN: contract; transformers PR 34191",
        reduction=_ALWAYS_TOKEN_MEAN,
        logged_loss=LoggedLoss.MEAN_OR_LAST,
    ),
    replace(
        _HF_5,
        name="fused",
        title="The fused loop of this project: Hugging Face counts, token mean in updates and in the log",
        source="harness/training: plan.py, run.py (_log)",
        reduction=_ALWAYS_TOKEN_MEAN,
        logged_loss=LoggedLoss.TOKEN_MEAN_SINCE_LAST_LOG,
    ),
    replace(
        _HF_5,
        name="accelerate-accumulate",
        title="Accelerate's accumulate(): backward divides by the accumulation, also in a short window",
        source="accelerate docs, usage_guides/gradient_accumulation, concept_guides/performance (learning rates); "
        "Accelerator.backward, AcceleratedScheduler.step",
        reduction=dict.fromkeys(LossProtocol, Reduction.MEAN_OVER_ACCUM),
        logged_loss=LoggedLoss.MEAN_OR_LAST,
        advances_per_rank=True,
    ),
    replace(
        _HF_5,
        name="accelerate-once",
        title="Accelerate's accumulate(), with a schedule that advances once an update however many ranks there are",
        source="accelerate: AcceleratedScheduler.step (split_batches, step_scheduler_with_optimizer)",
        reduction=dict.fromkeys(LossProtocol, Reduction.MEAN_OVER_ACCUM),
        logged_loss=LoggedLoss.MEAN_OR_LAST,
    ),
    Contract(
        name="lightning",
        title="Lightning's Trainer: max_steps or max_epochs, whichever comes first; accumulated losses divided by A",
        source="lightning/pytorch/loops: FitLoop.done, _TrainingEpochLoop._should_accumulate ('Lightning steps on the "
        "final batch'), ClosureResult (loss / accumulate_grad_batches); docs of Trainer, max_steps and max_epochs",
        horizon=Horizon.WHICHEVER_FIRST,
        reduction=dict.fromkeys(LossProtocol, Reduction.MEAN_OVER_ACCUM),
        evaluates_at_end=False,
        saves_at_end=False,
    ),
    replace(
        _HF_5,
        name="fabric",
        title="A loop on Lightning's Fabric: Hugging Face counts, a loss divided by the micro-batches of its window",
        source="lightning.ai/docs/fabric: advanced/gradient_accumulation; harness/subjects/fabric.py",
        reduction=dict.fromkeys(LossProtocol, Reduction.MEAN_OF_MEANS),
        logged_loss=LoggedLoss.MEAN_OR_LAST,
    ),
    replace(
        _HF_5,
        name="trl-sft",
        title="TRL's SFTTrainer: Trainer's counts, every label token of a window equal",
        source="trl/trainer/sft_trainer.py: compute_loss (sum of token losses / num_items_in_batch)",
        reduction=_TRL,
    ),
    replace(
        _HF_5,
        name="trl-sft-packing",
        title="TRL's SFTTrainer packing two rows a sequence: sequences counted, every label token of a window equal",
        source="trl/trainer/sft_trainer.py: compute_loss, pack_dataset; SFTConfig.packing",
        rows_per_sequence=2,
        reduction=_TRL,
    ),
)

CONTRACTS: dict[str, Contract] = {contract.name: contract for contract in _ALL}


def contract_named(name: str) -> Contract:
    """Return the contract of this name.

    Raises:
        ScenarioError: no such contract; the message names the nearest.
    """
    try:
        return CONTRACTS[name]
    except KeyError:
        raise ScenarioError(f"unknown contract {name!r}{nearest(name, CONTRACTS)}") from None
