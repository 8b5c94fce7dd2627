"""One part of a sweep that is spread over machines: `--shard i/n`, by the hash of the cell."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Shard"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """Part `index` of `count`, counted from 1. Every cell belongs to exactly one part."""

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ValueError(f"a shard is i/n with 1 <= i <= n, not {self.index}/{self.count}")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that `i/n` names; ValueError with the text when it names none."""
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if match is None:
            raise ValueError(f"a shard is i/n, like 1/4, not {text!r}")
        return cls(index=int(match[1]), count=int(match[2]))

    def owns(self, cell_id: str) -> bool:
        """Return whether the cell belongs to this part."""
        return int(cell_id[:16], 16) % self.count == self.index - 1
