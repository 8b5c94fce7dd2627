"""The contracts: what a trainer's documentation promises, as values that a subject names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from ...scenarios import LossProtocol, ScenarioError, nearest

__all__ = ["CONTRACTS", "Contract", "LoggedLoss", "Reduction", "Windows", "contract_named"]


class Windows(StrEnum):
    """How micro-batches are grouped into windows."""

    PER_EPOCH = "per_epoch"
    """windows partition the epoch; its last one may be short and is stepped"""
    ACROSS_EPOCHS = "across_epochs"
    """every A-th micro-batch closes a window, also across an epoch's end"""


class Reduction(StrEnum):
    """What one label token weighs in an update."""

    TOKEN_MEAN = "token_mean"  # noqa: S105  not a password
    """1 / N: N label tokens of the window, over all ranks"""
    MEAN_OF_MEANS = "mean_of_means"
    """1 / (n·W): n label tokens of its micro-batch, W micro-batches of the window"""
    MEAN_OVER_ACCUM = "mean_over_accum"
    """1 / (n·A): n label tokens of its micro-batch, A the accumulation asked for, also in a short window"""


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
        reduction: weight of a label token, per loss protocol.
        logs_used_rate: a log entry carries the learning rate of its own update (else that of the next one).
        logged_loss: which loss a log entry carries.
        logged_decimals: decimals that logged losses are rounded to; None for no rounding.
        evaluates_at_end: an evaluation after the last update, with `eval_steps`.
        saves_at_end: a checkpoint after the last update, with `save_steps`.
    """

    name: str
    title: str
    source: str
    windows: Windows = Windows.PER_EPOCH
    floor_updates: bool = False
    reduction: Mapping[LossProtocol, Reduction]
    logs_used_rate: bool = True
    logged_loss: LoggedLoss = LoggedLoss.MEAN_SINCE_LAST_LOG
    logged_decimals: int | None = None
    evaluates_at_end: bool = True
    saves_at_end: bool = True


_ALWAYS_TOKEN_MEAN = dict.fromkeys(LossProtocol, Reduction.TOKEN_MEAN)

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
    Contract(
        name="hf-4.45",
        title="Hugging Face Trainer, transformers 4.31 to 4.45",
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
        source="accelerate docs, usage_guides/gradient_accumulation; Accelerator.backward",
        reduction=dict.fromkeys(LossProtocol, Reduction.MEAN_OVER_ACCUM),
        logged_loss=LoggedLoss.MEAN_OR_LAST,
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
