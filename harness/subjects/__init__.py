"""The trainers under audit: protocol, registry, one module a trainer. Heavy imports happen when they train."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points

from ...scenarios import nearest
from .accelerate_docs import AccelerateDocs, AccelerateVariant
from .fabric import FabricLoop
from .fused import FusedLoop
from .hf import HfTrainer
from .hf_own_tokens import HfOwnTokens
from .hf_seq2seq import HfSeq2Seq
from .laid_over import laid_over, pins_of
from .liger import LigerTrainer
from .lightning import LightningTrainer
from .own import OwnLoop
from .plain import PlainLoop
from .seeded import seeded_fault, unusual_loop
from .subject import Bench, ClaimsInProgress, Subject, SubjectError, suited
from .trl_sft import TrlSft, Variant
from .unavailable import UNAVAILABLE, UnavailableTrainer
from .unsloth import Unsloth
from .unsloth_zoo import UnslothZoo

__all__ = [
    "REFERENCE",
    "Bench",
    "ClaimsInProgress",
    "Subject",
    "SubjectError",
    "resolve",
    "subject_names",
    "suited",
]

REFERENCE = "hf"
"""the subject that all others are compared with"""

ENTRY_POINTS = "stepaudit.subjects"
"""entry-point group of installed plug-ins: each names a Subject, or a function of a version that returns one"""

_PLAIN: dict[str, Callable[[], Subject]] = {
    "hf": HfTrainer,
    "plain": PlainLoop,
    **{variant.value: partial(AccelerateDocs, variant) for variant in AccelerateVariant},
    "fused": FusedLoop,
    "hf-seq2seq": HfSeq2Seq,
    "hf-own-tokens": HfOwnTokens,
    "liger": LigerTrainer,
    "lightning": LightningTrainer,
    "fabric": FabricLoop,
    "unsloth": Unsloth,
    "unsloth-lora": partial(Unsloth, lora=True),
    **{variant.value: partial(TrlSft, variant) for variant in Variant},
    **{name: partial(UnavailableTrainer, name) for name in UNAVAILABLE},
}
_RELEASES = {
    "hf": "transformers",
    "hf-seq2seq": "transformers",
    "accelerate": "accelerate",
    "liger": "liger-kernel",
    "lightning": "lightning",
    "fabric": "lightning",
    **{variant.value: "trl" for variant in Variant},
}
"""the package whose release `NAME@VERSION` means"""
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
            (`my_trainer.py:train`, `package.module:train`); each may have releases of packages laid over it
            (`hf[transformers==4.45.2]`).

    Raises:
        SubjectError: there is none; the message names the nearest.
    """
    name, pins = pins_of(name)
    return laid_over(_resolve(name), pins) if pins else _resolve(name)


def _resolve(name: str) -> Subject:
    base, _, version = name.partition("@")
    if name in _PLAIN:
        return _PLAIN[name]()
    if base in _RELEASES and version:
        return laid_over(_PLAIN[base](), (f"{_RELEASES[base]}=={version}",))
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
