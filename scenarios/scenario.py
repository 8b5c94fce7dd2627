"""One point of a sweep: what is to be trained, frozen and validated. Standard library only."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, get_args, get_origin, get_type_hints

__all__ = [
    "DatasetKind",
    "FirstLabel",
    "LengthProfile",
    "LossProtocol",
    "LrSchedule",
    "ModelKind",
    "OptimizerName",
    "Precision",
    "Scenario",
    "ScenarioError",
    "Tier",
    "nearest",
    "scenario_from_mapping",
]


class ScenarioError(ValueError):
    """A scenario, axis or suite that cannot be run as written; the message shows the offending value."""


class Tier(StrEnum):
    """How a cell is run, from cheap to dear (DESIGN: four tiers)."""

    PREDICT = "predict"
    TRACE = "trace"
    NUMERIC = "numeric"
    GPU = "gpu"


class ModelKind(StrEnum):
    """Which model is trained: the tracer (one float64 parameter per row) or a Llama."""

    TRACER = "tracer"
    TINY_LLAMA = "tiny-llama"
    TINY_LLAMA_LORA = "tiny-llama-lora"
    LLAMA = "llama"


class LossProtocol(StrEnum):
    """How the model's forward treats the divisor that a trainer hands over."""

    NONE = "none"
    """takes no loss keyword; divides by the micro-batch's own label tokens"""
    HONOURED = "honoured"
    """divides by `num_items_in_batch` when it is given"""
    IGNORED = "ignored"
    """accepts `**kwargs` and ignores the divisor"""
    OVERRIDDEN = "overridden"
    """the trainer's `compute_loss` is overridden and computes the loss from the outputs"""


class LengthProfile(StrEnum):
    """How many label tokens the rows have."""

    EQUAL = "equal"
    RAGGED = "ragged"


class FirstLabel(StrEnum):
    """Whether position 0, which no causal loss can count, carries a label."""

    COUNTED = "counted"
    MASKED = "masked"


class DatasetKind(StrEnum):
    """Whether the dataset has a length."""

    SIZED = "sized"
    ITERABLE = "iterable"


class LrSchedule(StrEnum):
    """The learning-rate schedules of `transformers.get_scheduler` that need no argument of their own."""

    LINEAR = "linear"
    COSINE = "cosine"
    COSINE_WITH_RESTARTS = "cosine_with_restarts"
    POLYNOMIAL = "polynomial"
    CONSTANT = "constant"
    CONSTANT_WITH_WARMUP = "constant_with_warmup"
    INVERSE_SQRT = "inverse_sqrt"


class OptimizerName(StrEnum):
    """Optimizers by the names of `TrainingArguments.optim`."""

    SGD = "sgd"
    ADAMW = "adamw_torch"
    ADAMW_FUSED = "adamw_torch_fused"


class Precision(StrEnum):
    """Mixed precision of the forward pass."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One point of the sweep.

    Integers are strict: a bool, a float or a string where an integer belongs is an error, never a conversion.

    Attributes:
        rows: dataset rows (rows of one pass, for an iterable dataset).
        lengths: label tokens per row, equal or ragged.
        first_label: whether position 0 carries a label (it never counts: the loss shifts).
        loss_protocol: what the model does with the divisor that a trainer hands over.
        dataset: sized or iterable.
        per_device_batch_size: B, rows of one micro-batch on one rank.
        grad_accum: A, micro-batches of one window.
        max_steps: optimizer steps asked for; None asks for epochs. 0 is not positive, so by the documentation
            of `TrainingArguments.max_steps` it asks for epochs too.
        epochs: `num_train_epochs`, may be fractional; overridden by a positive `max_steps`.
        drop_last: drop a last micro-batch that is not full.
        shuffle: whether the subject is asked to shuffle.
        seed: seed of model, data order and tokens.
        ranks: R, processes that train together.
        lr_schedule: name of the learning-rate schedule.
        warmup_steps: updates of linear warm-up.
        learning_rate: base learning rate.
        optimizer: optimizer by its `TrainingArguments.optim` name.
        max_grad_norm: clipping threshold of the gradient norm; 0 turns clipping off.
        precision: mixed precision.
        logging_steps: updates between logs; 0 turns logging off. Likewise `eval_steps` and `save_steps`.
        resume_at: optimizer step after which the run is interrupted and resumed; None runs through.
        model: which model is trained.
        tier: how the cell is run.
    """

    rows: int = 16
    lengths: LengthProfile = LengthProfile.RAGGED
    first_label: FirstLabel = FirstLabel.COUNTED
    loss_protocol: LossProtocol = LossProtocol.HONOURED
    dataset: DatasetKind = DatasetKind.SIZED
    per_device_batch_size: int = 2
    grad_accum: int = 1
    max_steps: int | None = None
    epochs: float = 1.0
    drop_last: bool = False
    shuffle: bool = True
    seed: int = 0
    ranks: int = 1
    lr_schedule: LrSchedule = LrSchedule.LINEAR
    warmup_steps: int = 0
    learning_rate: float = 0.01
    optimizer: OptimizerName = OptimizerName.SGD
    max_grad_norm: float = 1.0
    precision: Precision = Precision.FP32
    logging_steps: int = 1
    eval_steps: int = 0
    save_steps: int = 0
    resume_at: int | None = None
    model: ModelKind = ModelKind.TRACER
    tier: Tier = Tier.TRACE

    def __post_init__(self) -> None:
        for name, hint in _HINTS.items():
            object.__setattr__(self, name, _coerced(name, getattr(self, name), hint))
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                hint = "; write none for no limit" if name in {"max_steps", "resume_at"} else ""
                raise ScenarioError(f"{name} must be at least {least}, not {value}{hint}")
        if self.epochs <= 0 or self.learning_rate <= 0:
            name = "epochs" if self.epochs <= 0 else "learning_rate"
            raise ScenarioError(f"{name} must be positive, not {getattr(self, name)}")
        if self.dataset is DatasetKind.ITERABLE and not self.max_steps:
            raise ScenarioError(
                f"dataset iterable has no length, so max_steps must be positive, not {_shown(self.max_steps)}"
            )
        if (self.model is ModelKind.TRACER) != (self.tier in {Tier.TRACE, Tier.PREDICT}):
            raise ScenarioError(
                f"model {self.model.value} does not go with tier {self.tier.value}: "
                "the tracer belongs to tier trace (and predict), Llama models to numeric and gpu"
            )

    def to_mapping(self) -> dict[str, Any]:
        """Return all fields as plain JSON values (None stays None)."""
        values = ((name, getattr(self, name)) for name in _HINTS)
        return {name: value.value if isinstance(value, StrEnum) else value for name, value in values}

    def differences(self) -> dict[str, Any]:
        """Return the fields that differ from the default scenario, as plain JSON values."""
        default = _DEFAULTS
        return {key: value for key, value in self.to_mapping().items() if value != default[key]}

    def with_(self, **changes: Any) -> Scenario:
        """Return a copy with some fields changed, validated again."""
        return replace(self, **changes)

    @property
    def label(self) -> str:
        """A short text for people, e.g. `rows=5590 B=4 A=4 max_steps=350`; the rest where it is not the default."""
        head = f"rows={self.rows} B={self.per_device_batch_size} A={self.grad_accum}"
        head += f" max_steps={self.max_steps}" if self.max_steps is not None else f" epochs={self.epochs:g}"
        rest = self.differences()
        for name in ("rows", "per_device_batch_size", "grad_accum", "max_steps"):
            rest.pop(name, None)
        if self.max_steps is None:
            rest.pop("epochs", None)
        return " ".join([head, *(f"{name}={_shown(value)}" for name, value in rest.items())])


_LEAST: dict[str, int | float] = {
    "rows": 1,
    "per_device_batch_size": 1,
    "grad_accum": 1,
    "max_steps": 0,
    "seed": 0,
    "ranks": 1,
    "warmup_steps": 0,
    "max_grad_norm": 0,
    "logging_steps": 0,
    "eval_steps": 0,
    "save_steps": 0,
    "resume_at": 1,
}
_LARGEST = 2**53
"""the largest integer that survives a JSON reader that knows only floats"""


def scenario_from_mapping(mapping: dict[str, Any], *, where: str = "scenario") -> Scenario:
    """Return the scenario that a JSON or TOML table describes.

    Args:
        mapping: field name to plain value; missing fields take their default; `"none"` stands for None.
        where: what the table is, for the error message.

    Raises:
        ScenarioError: an unknown field (with the nearest valid name) or an illegal value.
    """
    for name in mapping:
        if name not in _HINTS:
            raise ScenarioError(f"{where}: unknown field {name!r}{nearest(name, _HINTS)}")
    try:
        return Scenario(**mapping)
    except ScenarioError as error:
        raise ScenarioError(f"{where}: {error}") from None


def nearest(word: str, valid: Any) -> str:
    """Return `; did you mean 'x'?`, or the list of valid words when none is near."""
    words = [str(item) for item in valid]
    close = difflib.get_close_matches(str(word), words, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; valid: {', '.join(words)}"


def _shown(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _coerced(name: str, value: Any, hint: Any) -> Any:
    """Return `value` as the field's type, or raise; the only conversions are str to enum, int to float, 'none'."""
    options = get_args(hint) if get_origin(hint) is not None or get_args(hint) else (hint,)
    if type(None) in options and (value is None or value == "none"):
        return None
    kind = next(option for option in options if option is not type(None))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        if isinstance(value, str) and value in kind.__members__.values():
            return kind(value)
        raise ScenarioError(f"{name} has no value {value!r}{nearest(str(value), kind)}")
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ScenarioError(f"{name} must be a finite number, not {value}")
        return float(value)
    if type(value) is not kind:
        expected = {int: "an integer", bool: "true or false", float: "a number"}[kind]
        raise ScenarioError(f"{name} must be {expected}, not {value!r}")
    if kind is int and value > _LARGEST:
        raise ScenarioError(f"{name} must be at most {_LARGEST}, not {value}")
    return value


_HINTS: dict[str, Any] = get_type_hints(Scenario)
_DEFAULTS: dict[str, Any] = Scenario().to_mapping()
