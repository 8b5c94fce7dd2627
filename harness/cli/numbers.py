"""Numbers of the command line, as strict as those of a suite file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter, Token

from ...scenarios import ScenarioError

__all__ = ["Count", "Whole", "at_least", "seconds_of", "whole_number"]


def whole_number(kind: Any, tokens: Sequence[Token]) -> int:
    """Return the integer that an option was given; 1.5 is none, and is not rounded to one."""
    del kind
    (token,) = tokens
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", token.value, re.ASCII):
        raise ScenarioError(f"{token.keyword or 'the value'} must be an integer, not {token.value!r}")
    return int(token.value)


Count = Annotated[int | None, Parameter(converter=whole_number)]
"""an option that takes an integer"""

Whole = Annotated[int, Parameter(converter=whole_number)]
"""the same, with a default"""


def at_least(option: str, number: int, least: int) -> int:
    """Return a number that has a lower bound.

    Raises:
        ScenarioError: it is below.
    """
    if number < least:
        raise ScenarioError(f"{option} must be at least {least}, not {number}")
    return number


def seconds_of(timeout: float) -> float:
    """Return a time limit that a clock can keep.

    Raises:
        ScenarioError: it is not a positive, finite number.
    """
    if not (timeout > 0 and math.isfinite(timeout)):
        raise ScenarioError(f"--timeout must be a positive number of seconds, not {timeout:g}")
    return timeout
