"""What each subject can be asked for: subject x scenario feature, from `supports` and the known deviations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ...scenarios import LossProtocol, LrSchedule, ModelKind, Precision, Scenario, Tier
from ...scenarios.known import KnownDeviation
from ..contract import contract_named, terms_of
from .environment import version_in
from .subject import Subject, suited

__all__ = ["FEATURES", "Capability", "Feature", "Standing", "capabilities_of", "known_where"]


class Standing(StrEnum):
    """What an audit of a feature gives."""

    AUDITED = "audited"
    UNSUPPORTED = "unsupported"
    KNOWN = "known deviation"


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature:
    """Something that a scenario can ask for.

    Attributes:
        name: for people.
        scenarios: a few that ask for it, each by its differences to the base; one that a subject supports is enough.
    """

    name: str
    scenarios: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Capability:
    """One cell of the table.

    Attributes:
        reason: why it is unsupported.
        known: ids and upstream reports of the deviations that are known there.
    """

    subject: str
    feature: str
    standing: Standing
    reason: str = ""
    known: tuple[tuple[str, str], ...] = ()


_BASE = Scenario(rows=9, grad_accum=2, epochs=2.0)
"""five micro-batches an epoch, so that its last window is short"""

_REAL = {"tier": Tier.NUMERIC, "model": ModelKind.TINY_LLAMA}
_EQUAL = {"rows": 16, "lengths": "equal", "epochs": 1.0}

FEATURES = (
    Feature(name="epochs", scenarios=({}, _EQUAL)),
    Feature(name="fractional epochs", scenarios=({"epochs": 1.5}, {**_EQUAL, "epochs": 1.5})),
    Feature(name="max_steps", scenarios=({"max_steps": 4}, {**_EQUAL, "max_steps": 4})),
    Feature(name="max_steps = 0", scenarios=({"max_steps": 0}, {**_EQUAL, "max_steps": 0})),
    Feature(
        name="dataset without a length",
        scenarios=(
            {"dataset": "iterable", "max_steps": 4},
            {"dataset": "iterable", "max_steps": 4, "rows": 3, "grad_accum": 4},
            {**_EQUAL, "dataset": "iterable", "max_steps": 4},
        ),
    ),
    Feature(name="drop_last", scenarios=({"drop_last": True}, {**_EQUAL, "drop_last": True})),
    Feature(name="no shuffling", scenarios=({"shuffle": False}, {**_EQUAL, "shuffle": False})),
    *(
        Feature(
            name=f"loss protocol {item.value}",
            scenarios=({"loss_protocol": item}, {**_EQUAL, "loss_protocol": item}),
        )
        for item in LossProtocol
    ),
    Feature(
        name="every schedule",
        scenarios=tuple(
            {**more, "lr_schedule": item, "warmup_steps": 1} for item in LrSchedule for more in ({}, _EQUAL)
        ),
    ),
    Feature(name="real model", scenarios=(_REAL, {**_REAL, **_EQUAL})),
    Feature(
        name="LoRA",
        scenarios=(
            {**_REAL, "model": ModelKind.TINY_LLAMA_LORA},
            {**_REAL, **_EQUAL, "model": ModelKind.TINY_LLAMA_LORA},
        ),
    ),
    *(
        Feature(
            name=f"precision {item.value}",
            scenarios=tuple(
                {**_REAL, **more, "precision": item, "model": kind}
                for more in ({}, _EQUAL)
                for kind in (ModelKind.TINY_LLAMA, ModelKind.TINY_LLAMA_LORA)
            ),
        )
        for item in (Precision.BF16, Precision.FP16)
    ),
    Feature(
        name="evaluation",
        scenarios=({**_EQUAL, "lengths": "ragged", "eval_steps": 2}, {**_EQUAL, "eval_steps": 2}),
    ),
    Feature(name="checkpoints", scenarios=({"save_steps": 2}, {**_EQUAL, "save_steps": 2})),
    Feature(name="resume inside an epoch", scenarios=({"resume_at": 2}, {**_EQUAL, "resume_at": 1})),
    Feature(
        name="resume at an epoch's end",
        scenarios=({"resume_at": 3}, {**_EQUAL, "epochs": 3.0, "resume_at": 4}),
    ),
    Feature(name="2 ranks", scenarios=({"ranks": 2}, {**_EQUAL, "ranks": 2})),
)


def capabilities_of(subject: Subject, known: Sequence[KnownDeviation]) -> tuple[Capability, ...]:
    """Return the row of a subject: every feature, audited, unsupported with the reason, or with what is known of it."""
    return tuple(_capability(subject, feature, known) for feature in FEATURES)


def known_where(
    subject: Subject, scenario: Scenario, known: Iterable[KnownDeviation]
) -> tuple[KnownDeviation, ...]:
    """Return the known deviations that cover a scenario of this subject, whatever the rule."""
    terms = terms_of(scenario, contract_named(subject.contract))
    at = scenario.resume_at
    every = scenario.save_steps or at
    numbers = {
        "rows": scenario.rows,
        "max_steps": scenario.max_steps,
        "epochs": scenario.epochs,
        "logging_steps": scenario.logging_steps,
        "resumed_at": at // every * every if at and every else None,
        **{name: getattr(terms, name) for name in ("B", "A", "R", "M", "U", "T", "E")},
    }
    packages = {name: version_in(name, subject.environment) for name in subject.packages}
    return tuple(
        entry
        for entry in known
        if entry.covers(
            rule=entry.rule,
            subject=subject.name,
            scenario=scenario.to_mapping(),
            packages=packages,
            numbers=numbers,
        )
    )


def _telling(reasons: Sequence[str | None]) -> str:
    """Return the reason that is about the feature, not about the rows or the model that it was tried with."""
    told = [reason for reason in reasons if reason is not None]
    about_it = (reason for reason in told if not reason.startswith(("lengths ", "model ")))
    return next(about_it, told[-1])


def _capability(subject: Subject, feature: Feature, known: Sequence[KnownDeviation]) -> Capability:
    scenarios = [suited(subject, _BASE.with_(**changes)) for changes in feature.scenarios]
    reasons = [subject.supports(scenario) for scenario in scenarios]
    supported = [scenario for scenario, reason in zip(scenarios, reasons, strict=True) if reason is None]
    if not supported:
        return Capability(
            subject=subject.name,
            feature=feature.name,
            standing=Standing.UNSUPPORTED,
            reason=_telling(reasons),
        )
    found = {entry.id: entry for scenario in supported for entry in known_where(subject, scenario, known)}
    elsewhere = {entry.id for entry in known_where(subject, suited(subject, _BASE), known)}
    mine = tuple((entry.id, entry.upstream) for entry in found.values() if entry.id not in elsewhere)
    return Capability(
        subject=subject.name,
        feature=feature.name,
        standing=Standing.KNOWN if mine else Standing.AUDITED,
        known=mine,
    )
