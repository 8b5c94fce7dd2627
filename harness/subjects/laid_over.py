"""A subject with other releases laid over its packages: `hf[transformers==4.45.2,accelerate==1.0.1]`."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence

from .environment import PYTHON, Environment, is_pin, normal_name, package_of
from .subject import Subject, SubjectError

__all__ = ["bare_name", "laid_over", "pins_of", "with_pins"]

_VARIABLES = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
"""a release from before torch 2.6 reads its own checkpoints as torch did then"""

_LAID = re.compile(r"(?P<bare>.+)\[(?P<pins>[^\[\]]*)\]")


def pins_of(name: str) -> tuple[str, tuple[str, ...]]:
    """Split `hf[transformers==4.45.2]` into the bare name and the pins, normalised; no pins without a bracket.

    Raises:
        SubjectError: no exact pin in the bracket, or one package twice.
    """
    match = _LAID.fullmatch(name)
    if match is None:  # a path may have brackets of its own
        return name, ()
    return match["bare"], _normal(match["pins"].split(","), where=f"subject {name!r}")


def bare_name(name: str) -> str:
    """Return the subject's name without the releases laid over it."""
    match = _LAID.fullmatch(name)
    return match["bare"] if match else name


def with_pins(name: str, pins: Iterable[str]) -> str:
    """Return the subject's name with these pins added to those that it has; a package's later pin counts.

    Raises:
        SubjectError: no exact pin, or one package twice.
    """
    bare, own = pins_of(name)
    added = _normal(pins, where="--with")
    kept = [pin for pin in own if package_of(pin) not in {package_of(item) for item in added}]
    return f"{bare}[{','.join((*kept, *added))}]" if kept or added else bare


def laid_over(subject: Subject, pins: Sequence[str]) -> Subject:
    """Return the subject as one of its own name, in an environment that asks for these pins.

    Raises:
        SubjectError: its class does not let its environment be changed.
    """
    own = subject.environment
    asked = tuple(pins)
    names = [package_of(pin) for pin in asked]
    environment = Environment(
        name="_".join(pin.replace("==", "-") for pin in asked)[:80].replace("+", "-").replace("!", "-"),
        requirements=tuple(pin for pin in own.requirements if package_of(pin) not in names) if own else (),
        variables=_VARIABLES | (own.variables if own else {}),
        asked=asked,
    )
    known = {normal_name(package) for package in subject.packages}
    laid = copy.copy(subject)
    changes = {
        "name": f"{subject.name}[{','.join(asked)}]",
        "environment": environment,
        "packages": (*subject.packages, *(name for name in names if name not in known and name != PYTHON)),
    }
    try:
        for attribute, value in changes.items():
            setattr(laid, attribute, value)
    except AttributeError as error:
        raise SubjectError(f"subject {subject.name!r} cannot be laid over: {error}") from None
    return laid


def _normal(pins: Iterable[str], *, where: str) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for text in pins:
        pin = "".join(text.split())
        if not is_pin(pin):
            raise SubjectError(f"{where}: {text!r} is not an exact release like transformers==4.45.2")
        name, _, version = pin.partition("==")
        if normal_name(name) in found:
            raise SubjectError(f"{where}: {name} is named twice")
        found[normal_name(name)] = f"{normal_name(name)}=={version}"
    return tuple(found.values())
