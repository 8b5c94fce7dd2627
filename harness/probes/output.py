"""Claims that a trainer only prints: the total in its banner and in its progress bar. No torch here."""

from __future__ import annotations

import re

__all__ = ["planned_from_output"]

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_BANNER = re.compile(r"total(?: optimi[sz]ation)? steps\s*[=:]\s*([0-9][0-9,]{0,30})", re.IGNORECASE)
_BAR = re.compile(r"\|\s*[0-9]+/([0-9]{1,30})\s*\[")


def planned_from_output(text: str) -> dict[str, int]:
    """Return the announced totals by source.

    Args:
        text: what the trainer printed, carriage returns and colours included.

    Returns:
        `banner`: from a line such as `Total steps = 350` or `Total optimization steps = 1,000`;
        `bar`: the total of the last progress bar, as tqdm draws it (`| 3/350 [`). Missing where not printed.
    """
    plain = _ANSI.sub("", text)
    planned = {}
    if banner := _BANNER.findall(plain):
        planned["banner"] = int(banner[-1].replace(",", ""))
    if bar := _BAR.findall(plain):
        planned["bar"] = int(bar[-1])
    return planned
