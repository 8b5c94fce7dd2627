"""What a worker does to itself so that a wild subject costs one cell: limits, signals, last words.

Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import resource
import signal
from pathlib import Path
from typing import IO, Final

__all__ = ["DUMP_SIGNAL", "contain", "die_like", "die_with", "limit_memory"]

DUMP_SIGNAL: Final = signal.SIGRTMIN + 7
"""makes a worker write the traceback of all its threads; the runner sends it before it kills a hanging one"""

_PR_SET_PDEATHSIG: Final = 1
_OOM_SCORE: Final = 800
"""the kernel kills a worker before the runner, the store, or anything of the user's"""

_crash: IO[bytes] | None = None


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; end at once if it has ended already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def die_like(status: int) -> None:
    """End this process as a child of it ended, by the status that `waitpid` gave."""
    if os.WIFSIGNALED(status):
        faulthandler.disable()  # the child has said its last words
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


def contain(*, crash: int) -> None:
    """Leave no core file, be the kernel's first choice, say last words into the descriptor `crash`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")
    global _crash  # noqa: PLW0603 - faulthandler keeps the number, the object must live
    _crash = os.fdopen(crash, "wb", buffering=0)
    faulthandler.enable(file=_crash, all_threads=True)
    faulthandler.register(DUMP_SIGNAL, file=_crash, all_threads=True)


def limit_memory(limit: int) -> None:
    """Let the process allocate `limit` bytes more than it holds now; beyond that, allocations fail.

    It counts private memory (RLIMIT_DATA), not address space: torch and CUDA reserve far more than they use.
    """
    held = 0
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmData:"):
            held = int(line.split()[1]) * 1024
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held + limit
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
