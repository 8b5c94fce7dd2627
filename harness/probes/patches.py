"""Replacing an attribute for a while: the one way in which probes touch torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["replaced"]


@contextmanager
def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Replace `owner.name` by `make(original)` and put back exactly what was there, also the absence.

    Args:
        owner: a class or module.
        name: the attribute.
        make: gets the original callable, returns its replacement.
    """
    own = owner.__dict__.get(name)
    original = getattr(owner, name)
    setattr(owner, name, make(original))
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)
