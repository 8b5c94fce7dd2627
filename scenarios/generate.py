"""Prints the TOML of a generated suite: `python -m stepaudit.scenarios.generate default`."""

from __future__ import annotations

import sys

from .default_recipe import DEFAULT_AXES, default_sections
from .scenario import Scenario, nearest
from .toml_text import axes_text, defaults_text, scenario_text

__all__ = ["default_toml", "main"]

_HEAD = """\
# Written by `python -m stepaudit.scenarios.generate default` and committed, so that what CI runs changes
# only in review. Each line of `scenario` gives the fields that differ from [defaults].

schema = 1
title = "Covering array, boundary points and the grids where faults are known to show"
subjects = ["hf", "plain", "accelerate"]
"""


def default_toml() -> str:
    """Return the default suite as TOML."""
    seen: set[Scenario] = set()
    lines = ["scenario = ["]
    for section in default_sections():
        fresh = [scenario for scenario in section.scenarios if scenario not in seen]
        seen.update(fresh)
        above = len(section.scenarios) - len(fresh)
        lines.append(f"  # {section.title}: {len(fresh)}" + (f", and {above} listed above" if above else ""))
        lines += [f"  {scenario_text(scenario)}," for scenario in fresh]
    lines.append("]")
    return "\n".join([_HEAD, *lines, "", axes_text(DEFAULT_AXES), "", defaults_text(), ""])


_GENERATED = {"default": default_toml}


def main(arguments: list[str]) -> int:
    """Print the suite that is named; 0, or 2 for wrong usage."""
    name = " ".join(arguments)
    if name not in _GENERATED:
        sys.stderr.write(f"no generated suite {name!r}{nearest(name, _GENERATED)}\n")
        return 2
    sys.stdout.write(_GENERATED[name]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
