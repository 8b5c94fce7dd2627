"""The axes of a sweep: which scenario fields vary, over which values, and how a person writes that."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from .scenario import Scenario, ScenarioError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "ALIASES",
    "AXIS_NAMES",
    "Axis",
    "axis_name",
    "axis_type",
    "is_optional",
    "legal_base",
    "legal_value",
]
__all__ += ["parse_axes", "parse_axis", "require_distinct", "value_from_text"]

_HINTS: dict[str, Any] = get_type_hints(Scenario)
AXIS_NAMES: tuple[str, ...] = tuple(_HINTS)
"""Every scenario field can be swept."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "accum": "grad_accum",
        "batch": "per_device_batch_size",
        "clip": "max_grad_norm",
        "eval": "eval_steps",
        "logging": "logging_steps",
        "lr": "learning_rate",
        "protocol": "loss_protocol",
        "resume": "resume_at",
        "save": "save_steps",
        "schedule": "lr_schedule",
        "warmup": "warmup_steps",
        # the names of TrainingArguments
        "dataloader_drop_last": "drop_last",
        "gradient_accumulation_steps": "grad_accum",
        "lr_scheduler_type": "lr_schedule",
        "num_train_epochs": "epochs",
        "optim": "optimizer",
        "per_device_train_batch_size": "per_device_batch_size",
    }
)
"""Short names that the command line and the query grammar accept, and what they mean."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,30}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,6})?", re.ASCII)


def axis_name(word: str) -> str:
    """Return the scenario field that a name, alias or hyphenated name means; raise with the nearest one."""
    name = word.replace("-", "_")
    name = ALIASES.get(name, name)
    if name not in _HINTS:
        raise ScenarioError(f"unknown axis {word!r}{nearest(name, (*AXIS_NAMES, *ALIASES))}")
    return name


def axis_type(name: str) -> type:
    """Return the type of the values of an axis, without None."""
    hint = _HINTS[name]
    kind: type = next(option for option in (get_args(hint) or (hint,)) if option is not type(None))
    return kind


def is_optional(name: str) -> bool:
    """Return whether `none` is a value of this axis."""
    return type(None) in get_args(_HINTS[name])


def legal_value(name: str, value: Any) -> Any:
    """Return a value as the type of its axis.

    Raises:
        ScenarioError: the value is illegal whatever the other fields are.
    """
    kind = axis_type(name)
    if issubclass(kind, StrEnum):  # not through Scenario: its rules between fields are not about one value
        if isinstance(value, str) and value in kind.__members__.values():
            return kind(value)
        raise ScenarioError(f"{name} has no value {value!r}{nearest(str(value), kind)}")
    return getattr(Scenario(**{name: value}), name)


def legal_base(base: Mapping[str, Any], *, where: str = "base") -> dict[str, Any]:
    """Return fixed fields with each value in the type of its axis.

    Raises:
        ScenarioError: an unknown field or an illegal value.
    """
    for name in base:
        if name not in _HINTS:
            raise ScenarioError(f"{where}: unknown field {name!r}{nearest(name, AXIS_NAMES)}")
    try:
        return {name: legal_value(name, value) for name, value in base.items()}
    except ScenarioError as error:
        raise ScenarioError(f"{where}: {error}") from None


def value_from_text(name: str, text: str) -> Any:
    """Return the typed value of an axis that a word of the command line stands for.

    Raises:
        ScenarioError: the word is no value of this axis.
    """
    if text == "none" and is_optional(name):
        return None
    kind = axis_type(name)
    if kind is bool:
        if text not in {"true", "false"}:
            raise ScenarioError(f"{name} must be true or false, not {text!r}")
        return text == "true"
    if kind is int:
        if not _INTEGER.fullmatch(text):
            raise ScenarioError(f"{name} must be an integer, not {text!r}")
        return legal_value(name, int(text))
    if kind is float:
        if not _DECIMAL.fullmatch(text) or not math.isfinite(float(text)):
            raise ScenarioError(f"{name} must be a finite number, not {text!r}")
        return legal_value(name, float(text))
    return legal_value(name, text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One scenario field and the values it takes.

    Attributes:
        name: the field.
        values: its values, in order, each once.
    """

    name: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if self.name not in _HINTS:
            raise ScenarioError(f"unknown axis {self.name!r}{nearest(self.name, AXIS_NAMES)}")
        if not self.values:
            raise ScenarioError(f"axis {self.name} has no values")
        object.__setattr__(self, "values", tuple(legal_value(self.name, value) for value in self.values))
        for index, value in enumerate(self.values):
            if value in self.values[:index]:
                raise ScenarioError(f"axis {self.name} has the value {_text(value)} twice")

    def __str__(self) -> str:
        return f"{self.name}={','.join(_text(value) for value in self.values)}"


def parse_axis(text: str) -> Axis:
    """Return the axis that `NAME=V,V,...` describes.

    Raises:
        ScenarioError: no such axis, no values, a value twice, or an illegal value.
    """
    word, equals, values = text.partition("=")
    name = axis_name(word.strip())
    if not equals or not values.strip():
        raise ScenarioError(f"axis {text!r} has no values; write {name}=V,V,...")
    words = [value.strip() for value in values.split(",")]
    if "" in words:
        raise ScenarioError(f"axis {text!r} has an empty value; write {name}=V,V,...")
    return Axis(name=name, values=tuple(value_from_text(name, value) for value in words))


def parse_axes(texts: Iterable[str]) -> tuple[Axis, ...]:
    """Return the axes that several `NAME=V,V,...` describe.

    Raises:
        ScenarioError: as for one, or an axis given twice.
    """
    axes = tuple(parse_axis(text) for text in texts)
    require_distinct(axes)
    return axes


def require_distinct(axes: Iterable[Axis]) -> None:
    """Raise if two axes vary the same field."""
    names = [axis.name for axis in axes]
    for name in names:
        if names.count(name) > 1:
            raise ScenarioError(f"axis {name} is given {names.count(name)} times; write it once")


def _text(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
