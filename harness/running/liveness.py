"""Which run a lease or a scratch directory belongs to, and whether that run still lives."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Run"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A process, told apart from a later one with the same number by the moment it started.

    Attributes:
        host: where it runs; containers have host names of their own.
        pid: process id.
        started: clock ticks from boot to its start.
    """

    host: str
    pid: int
    started: int

    @classmethod
    def current(cls) -> Run:
        """Return the run that this process is."""
        pid = os.getpid()
        started = _started(pid)
        assert started is not None
        return cls(host=platform.node(), pid=pid, started=started)

    @property
    def here(self) -> bool:
        """Whether it ran on this machine, so that `alive` can tell."""
        return self.host == platform.node()

    @property
    def alive(self) -> bool:
        """Whether the process exists; only meaningful where `here` is true."""
        return _started(self.pid) == self.started


def _started(pid: int) -> int | None:
    """Return field 22 of /proc/PID/stat, or None when there is no such process or only its remains."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])
