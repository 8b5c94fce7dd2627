"""The command of a resume check: a seeded loop from the start or from a checkpoint, stopped after so many updates."""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path

import arena

#: Checkpoints after every update; six updates in two epochs, a short window at the end of each.
SETTING = arena.Setting(rows=9, B=2, A=2)


class StopError(Exception):
    """The run is interrupted."""


def main(name: str, run_dir: Path, end: int, resume_from: str) -> None:
    """Train, and leave the checkpoint of update `end` at `run_dir/checkpoint.pt`."""
    output = run_dir / "out"
    if resume_from:
        staged = output / "checkpoint-0"
        staged.mkdir(parents=True)
        shutil.copy(resume_from, staged / "loop.pt")
    loop = arena.new_loop(arena.loop_class(name), arena.new_model(), SETTING, str(output))
    loop.save_every, loop.resume = 1, bool(resume_from)
    save = loop.save

    def save_and_stop() -> None:
        save()
        if loop.updates >= end:
            raise StopError

    loop.save = save_and_stop
    with contextlib.suppress(StopError):
        loop.run()
    shutil.copy(output / f"checkpoint-{loop.updates}" / "loop.pt", run_dir / "checkpoint.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
