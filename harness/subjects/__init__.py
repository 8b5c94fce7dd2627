"""The trainers under audit: protocol, registry, one module a trainer. Heavy imports happen when they train."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from ...scenarios import nearest
from .accelerate_docs import AccelerateDocs
from .fused import FusedLoop
from .hf import HfTrainer
from .own import OwnLoop
from .plain import PlainLoop
from .seeded import seeded_fault, unusual_loop
from .subject import Bench, ClaimsInProgress, Subject, SubjectError
from .unsloth_zoo import UnslothZoo

__all__ = ["REFERENCE", "Bench", "ClaimsInProgress", "Subject", "SubjectError", "resolve", "subject_names"]

REFERENCE = "hf"
"""the subject that all others are compared with"""

ENTRY_POINTS = "stepaudit.subjects"
"""entry-point group of installed plug-ins: each names a Subject, or a function of a version that returns one"""

_PLAIN: dict[str, Callable[[], Subject]] = {
    "hf": HfTrainer,
    "plain": PlainLoop,
    "accelerate": AccelerateDocs,
    "fused": FusedLoop,
}
_VERSIONED: dict[str, Callable[[str], Subject]] = {
    "unsloth-zoo": UnslothZoo,
    "fault": seeded_fault,
    "unusual": unusual_loop,
}


def subject_names() -> tuple[str, ...]:
    """Return the names that can be asked for, plug-ins included."""
    return (*_PLAIN, *(f"{name}@VERSION" for name in _VERSIONED), *_plug_ins())


def resolve(name: str) -> Subject:
    """Return the subject of this name.

    Args:
        name: a registered name (`hf`), one with a release (`unsloth-zoo@2026.10.5`), or a loop of one's own
            (`my_trainer.py:train`, `package.module:train`).

    Raises:
        SubjectError: there is none; the message names the nearest.
    """
    base, _, version = name.partition("@")
    if name in _PLAIN:
        return _PLAIN[name]()
    if base in _VERSIONED:
        if not version:
            raise SubjectError(f"subject {base!r} needs a release: {base}@VERSION")
        return _VERSIONED[base](version)
    if base in _plug_ins():
        made = _plug_ins()[base].load()
        plugged: Subject = made(version) if version else made()
        return plugged
    if ":" in name:
        return OwnLoop(name)
    if name.endswith(".py"):
        raise SubjectError(f"subject {name!r} names a file: write {name}:FUNCTION")
    raise SubjectError(f"unknown subject {name!r}{nearest(name, subject_names())}")


@cache
def _plug_ins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
