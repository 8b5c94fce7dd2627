"""An environment of wheels that a subject needs laid over the base one. Making it is the runner's work."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import sys
import sysconfig
from dataclasses import dataclass, field
from functools import cache

__all__ = ["ABSENT", "PYTHON", "Environment", "is_pin", "normal_name", "package_of", "version_in"]

_PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*")

ABSENT = "absent"
"""the version of a distribution that is nowhere: a version like any other, installing it changes the cell ids"""
PYTHON = "python"
"""the name under which an environment is asked for another interpreter: `python==3.12`"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """Wheels laid over the base environment, and the variables that the subject needs before its import.

    Attributes:
        name: for people and for the directory's name; a letter or digit, then letters, digits, `._@-`.
        requirements: exact pins `name==version`, installed without their dependencies. Exact, so that cell
            ids need no installed environment and the cache never goes stale.
        variables: environment variables of the worker.
        asked: exact pins whose own needs have not been found yet (`running/resolution.py` does); empty once they are.
        base: exact pins of the distributions of the base environment that the worker sees; None: all there are.
        trouble: why what was asked for cannot be had; empty where it can.
    """

    name: str
    requirements: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    base: tuple[str, ...] | None = None
    trouble: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]*", self.name):
            raise ValueError(f"an environment's name is letters, digits and ._@-, not {self.name!r}")
        if not self.requirements and not self.asked and self.base is None:
            raise ValueError(f"environment {self.name}: no requirements")
        for requirement in (*self.requirements, *self.asked, *(self.base or ())):
            if not is_pin(requirement):
                raise ValueError(
                    f"environment {self.name}: {requirement!r} is not an exact pin like name==1.2"
                )

    @property
    def pins(self) -> dict[str, str]:
        """Normalised distribution name to version, of what is laid over and of what was asked for."""
        parts = (pin.partition("==") for pin in (*self.asked, *self.requirements))
        return {normal_name(name): version for name, _, version in parts}

    @property
    def python(self) -> str | None:
        """The interpreter that is asked for, such as `3.12`; None for the one that runs."""
        return self.pins.get(PYTHON)

    @property
    def key(self) -> str:
        """Content address: requirements and interpreter; variables change nothing on disk."""
        parts: list[object] = [
            sorted(self.requirements),
            sys.implementation.cache_tag,
            sysconfig.get_platform(),
        ]
        if self.asked or self.base is not None:
            parts += [self.asked, self.base]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def is_pin(text: str) -> bool:
    """Return whether a text is an exact pin, `name==version`."""
    return _PIN.fullmatch(text) is not None


def normal_name(name: str) -> str:
    """Return a distribution's name in its normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def package_of(pin: str) -> str:
    """Return the distribution of a pin `name==version`, in its normal form."""
    return normal_name(pin.partition("==")[0])


def version_in(package: str, environment: Environment | None) -> str:
    """Return a distribution's version as a worker sees it: the environment's pin, else the installed one."""
    pins = environment.pins if environment else {}
    return pins.get(normal_name(package)) or _installed(package)


@cache
def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ABSENT
