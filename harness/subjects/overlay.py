"""What a subject needs that the base environment may not have: exact pins, laid over it where it is not installed."""

from __future__ import annotations

from .environment import ABSENT, Environment, version_in

__all__ = ["overlay"]


def overlay(package: str, *pins: str, variables: dict[str, str] | None = None) -> Environment | None:
    """Return the environment that brings a package, or None where it is installed.

    Args:
        package: the distribution that decides: where it is installed, the installed one is audited.
        pins: exact pins `name==version` of the package and of what it imports besides the base environment.
        variables: environment variables of the worker.
    """
    if version_in(package, None) != ABSENT and not variables:
        return None
    return Environment(name="-".join(pins[0].split("==")), requirements=pins, variables=variables or {})
