"""An environment of wheels that a subject needs laid over the base one. Making it is the runner's work."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import sysconfig
from dataclasses import dataclass, field

__all__ = ["Environment", "normal_name"]

_PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """Wheels laid over the base environment, and the variables that the subject needs before its import.

    Attributes:
        name: for people and for the directory's name; a letter or digit, then letters, digits, `._@-`.
        requirements: exact pins `name==version`, installed without their dependencies. Exact, so that cell
            ids need no installed environment and the cache never goes stale.
        variables: environment variables of the worker.
    """

    name: str
    requirements: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]*", self.name):
            raise ValueError(f"an environment's name is letters, digits and ._@-, not {self.name!r}")
        if not self.requirements:
            raise ValueError(f"environment {self.name}: no requirements")
        for requirement in self.requirements:
            if not _PIN.fullmatch(requirement):
                raise ValueError(
                    f"environment {self.name}: {requirement!r} is not an exact pin like name==1.2"
                )

    @property
    def pins(self) -> dict[str, str]:
        """Normalised distribution name to version."""
        parts = (pin.partition("==") for pin in self.requirements)
        return {normal_name(name): version for name, _, version in parts}

    @property
    def key(self) -> str:
        """Content address: requirements and interpreter; variables change nothing on disk."""
        text = json.dumps([sorted(self.requirements), sys.implementation.cache_tag, sysconfig.get_platform()])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def normal_name(name: str) -> str:
    """Return a distribution's name in its normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
