"""Where a run's cells write: one directory a run, removed with it, or by the next run if it was killed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from .liveness import Run

__all__ = ["scratch_directory"]

_PREFIX = "stepaudit-"


def scratch_directory() -> Path:
    """Return a new directory, and remove those of this machine's runs that are no more. May raise OSError."""
    run = Run.current()
    base = Path(tempfile.gettempdir())
    for leftover in base.glob(f"{_PREFIX}{run.host}-*-*-*"):
        try:
            _, pid, started, _ = leftover.name.rsplit("-", 3)
            owner = Run(host=run.host, pid=int(pid), started=int(started))
        except ValueError:
            continue
        if not owner.alive:
            shutil.rmtree(leftover, ignore_errors=True)
    name = f"{_PREFIX}{run.host}-{run.pid}-{run.started}-"
    return Path(tempfile.mkdtemp(prefix=name, dir=base))
