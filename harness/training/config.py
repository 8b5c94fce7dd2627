"""The settings of one fine-tuning run, under the names that ``transformers.TrainingArguments`` uses.

A setting that this loop does not know is an error, never a silent default: a run with a dropped option is a
different experiment from the one that was asked for.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

OPTIMIZERS: Final = ("adamw_torch_fused", "adamw_torch", "sgd", "adagrad", "rmsprop", "adafactor")
SCHEDULES: Final = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "reduce_lr_on_plateau",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "warmup_stable_decay",
    "greedy",
)
STRATEGIES: Final = ("no", "steps", "epoch")
BACKENDS: Final = ("auto", "torch", "triton", "none")

#: Settings that may differ between a checkpoint and the run that resumes from it: they change neither the
#: data that an update sees nor what an update does. ``max_steps`` and ``num_train_epochs`` move only the end
#: (the learning rates that follow are those of the new schedule from the first resumed update on).
FREE_ON_RESUME: Final = frozenset(
    {
        "output_dir",
        "max_steps",
        "num_train_epochs",
        "logging_steps",
        "logging_strategy",
        "logging_first_step",
        "eval_steps",
        "eval_strategy",
        "per_device_eval_batch_size",
        "save_steps",
        "save_strategy",
        "save_total_limit",
        "dataloader_num_workers",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """What to train with. Field names and defaults follow ``transformers.TrainingArguments`` 5.x.

    Three defaults differ on purpose: nothing is saved unless asked for (``save_strategy="no"``), and
    ``shuffle``, ``packing``, ``max_length`` and ``kernel_backend`` are this loop's own.

    Attributes:
        max_steps: Optimizer updates to make, ``-1`` for none; overrides ``num_train_epochs``.
        num_train_epochs: Passes over the data; a fraction is allowed and is rounded up to whole updates.
        per_device_train_batch_size: Rows of one micro-batch.
        per_device_eval_batch_size: Rows of one evaluation micro-batch.
        gradient_accumulation_steps: Micro-batches of one window (the last window of an epoch may be short).
        dataloader_drop_last: Drop the last micro-batch of an epoch if it is not full.
        dataloader_num_workers: Processes that read rows; 0 reads them in this process.
        learning_rate: The base that the schedule multiplies.
        optim: One of ``OPTIMIZERS``.
        weight_decay: Decoupled decay, not applied to biases and norms.
        adam_beta1: First-moment decay of AdamW.
        adam_beta2: Second-moment decay of AdamW.
        adam_epsilon: Denominator term of AdamW.
        lr_scheduler_type: One of ``SCHEDULES``.
        lr_scheduler_kwargs: Handed to that schedule.
        warmup_steps: Updates of warm-up if >= 1, a share of all updates if < 1 (rounded up).
        max_grad_norm: Clip the gradient to this norm; 0 does not clip.
        logging_strategy: One of ``STRATEGIES``.
        logging_steps: Updates between logs if >= 1, a share of all updates if < 1.
        logging_first_step: Also log the first update.
        eval_strategy: One of ``STRATEGIES``.
        eval_steps: As ``logging_steps``; ``None`` means ``logging_steps``.
        save_strategy: One of ``STRATEGIES``.
        save_steps: As ``logging_steps``.
        save_total_limit: Keep so many checkpoints, ``None`` for all.
        output_dir: Where checkpoints go; needed if anything is saved.
        seed: Seed of python, numpy and torch, set when the run begins.
        data_seed: Seed of the data order, ``None`` for ``seed``.
        shuffle: Draw a new order every epoch; ``False`` keeps the order of the dataset.
        bf16: Autocast the forward to bfloat16.
        fp16: Autocast the forward to float16, with dynamic loss scaling.
        gradient_checkpointing: Recompute the layers' activations in the backward.
        packing: Put several rows into one sequence, attention confined to each row.
        max_length: Longest sequence in tokens; longer rows are cut. Needed for packing.
        kernel_backend: One of ``BACKENDS``; ``none`` leaves the model's own code in place.
    """

    max_steps: int = -1
    num_train_epochs: float = 3.0
    per_device_train_batch_size: int = 8
    per_device_eval_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    dataloader_drop_last: bool = False
    dataloader_num_workers: int = 0
    learning_rate: float = 5e-5
    optim: str = "adamw_torch_fused"
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    lr_scheduler_type: str = "linear"
    lr_scheduler_kwargs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    warmup_steps: float = 0
    max_grad_norm: float = 1.0
    logging_strategy: str = "steps"
    logging_steps: float = 500
    logging_first_step: bool = False
    eval_strategy: str = "no"
    eval_steps: float | None = None
    save_strategy: str = "no"
    save_steps: float = 500
    save_total_limit: int | None = None
    output_dir: str | None = None
    seed: int = 42
    data_seed: int | None = None
    shuffle: bool = True
    bf16: bool = False
    fp16: bool = False
    gradient_checkpointing: bool = False
    packing: bool = False
    max_length: int | None = None
    kernel_backend: str = "auto"

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: A value is out of range or contradicts another; the message shows it.
            TypeError: A value has the wrong type.
        """
        object.__setattr__(
            self, "lr_scheduler_kwargs", MappingProxyType(dict(self.lr_scheduler_kwargs or {}))
        )
        for name in (
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "gradient_accumulation_steps",
        ):
            _whole(self, name, least=1)
        _whole(self, "dataloader_num_workers", least=0)
        _whole(self, "seed", least=0)
        _whole(self, "max_steps", least=-1)
        if self.max_steps == 0:
            raise ValueError(
                "max_steps must be -1 (none) or at least 1, got 0: zero updates are no training run"
            )
        for name in ("data_seed", "save_total_limit", "max_length"):
            if getattr(self, name) is not None:
                _whole(self, name, least=0 if name == "data_seed" else 1)
        for name in _BOOLEANS:
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        self._check_numbers()
        self._check_choices()
        self._check_pairs()

    def _check_numbers(self) -> None:
        for name in ("learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm", "warmup_steps"):
            _number(self, name, least=0.0)
        for name in ("num_train_epochs", "logging_steps", "eval_steps", "save_steps"):
            if getattr(self, name) is not None:
                _number(self, name, least=0.0, open_end=True)
        for name in ("warmup_steps", "logging_steps", "eval_steps", "save_steps"):
            value = getattr(self, name)
            if value is not None and value > 1 and value != int(value):
                raise ValueError(
                    f"{name} must be a whole number of updates, or a share below 1, got {value!r}"
                )
        for name in ("adam_beta1", "adam_beta2"):
            _number(self, name, least=0.0)
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} must be below 1, got {getattr(self, name)!r}")

    def _check_choices(self) -> None:
        _one_of("optim", self.optim, OPTIMIZERS)
        _one_of("lr_scheduler_type", self.lr_scheduler_type, SCHEDULES)
        _one_of("kernel_backend", self.kernel_backend, BACKENDS)
        for name in ("logging_strategy", "eval_strategy", "save_strategy"):
            _one_of(name, getattr(self, name), STRATEGIES)

    def _check_pairs(self) -> None:
        if self.bf16 and self.fp16:
            raise ValueError("bf16=True and fp16=True exclude each other, set one of them")
        if self.save_strategy != "no" and self.output_dir is None:
            raise ValueError(f"save_strategy={self.save_strategy!r} needs an output_dir, got None")
        if self.packing and self.max_length is None:
            raise ValueError("packing=True needs a max_length (tokens of one packed sequence), got None")
        if self.lr_scheduler_type in {"reduce_lr_on_plateau", "greedy"} and self.eval_strategy == "no":
            raise ValueError(
                f"lr_scheduler_type={self.lr_scheduler_type!r} follows eval_loss and needs an eval_strategy, "
                "got 'no'"
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Make a config from named values.

        Args:
            values: Setting name to value.

        Returns:
            The checked config.

        Raises:
            ValueError: A name is not a setting; the message names the nearest one.
        """
        known = [entry.name for entry in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(
                    f"unknown training setting {name!r} = {values[name]!r}{_did_you_mean(name, known)}"
                )
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values, in field order."""
        values = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        values["lr_scheduler_kwargs"] = dict(self.lr_scheduler_kwargs)
        return values

    @property
    def order_seed(self) -> int:
        """Seed of the data order."""
        return self.seed if self.data_seed is None else self.data_seed


_BOOLEANS: Final = (
    "dataloader_drop_last",
    "logging_first_step",
    "shuffle",
    "bf16",
    "fp16",
    "gradient_checkpointing",
    "packing",
)


def _whole(config: TrainingConfig, name: str, *, least: int) -> None:
    value = getattr(config, name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value!r}")


def _number(config: TrainingConfig, name: str, *, least: float, open_end: bool = False) -> None:
    value = getattr(config, name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(value) or value < least or (open_end and value == least):
        bound = "above" if open_end else "at least"
        raise ValueError(f"{name} must be a finite number {bound} {least:g}, got {value!r}")


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(
            f"{name} must be one of {', '.join(allowed)}, got {value!r}{_did_you_mean(value, allowed)}"
        )


def _did_you_mean(word: Any, known: tuple[str, ...] | list[str]) -> str:
    near = difflib.get_close_matches(str(word), known, n=1)
    return f". Did you mean {near[0]!r}?" if near else ""
