"""A virtual environment a peer, made once in a cache directory; torch and stepaudit are shared from the running one."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PEERS", "Peer", "environment", "python_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A peer and what it needs besides torch.

    Attributes:
        name: on the package index.
        requirements: pinned; what the shared environment may lack is part of it.
        adapter: module in this directory.
        seconds_a_fault: rough cost on one core.
        few: whether it is given only some faults by default, because of that cost.
    """

    name: str
    requirements: tuple[str, ...]
    adapter: str
    seconds_a_fault: float
    few: bool = False


PEERS = {
    "trainparity": Peer(
        name="trainparity", requirements=("trainparity==0.1.0",), adapter="with_trainparity", seconds_a_fault=3.0
    ),
    "pytest-torch": Peer(
        name="pytest-torch", requirements=("pytest-torch==1.1.1",), adapter="with_pytest_torch", seconds_a_fault=1.5
    ),
    "traincheck": Peer(
        name="traincheck",
        requirements=(
            "traincheck==0.2.0", "astor", "numba", "llvmlite", "polars", "polars-runtime-32", "orjson", "watchdog",
        ),  # fmt: skip
        adapter="with_traincheck",
        seconds_a_fault=30.0,
        few=True,
    ),
}


def python_of(peer: Peer, cache: Path) -> Path:
    """Return the interpreter of a peer's environment, which is made where it is missing.

    Raises:
        RuntimeError: pip could not install it; the message is pip's.
    """
    home = cache / peer.name
    python = home / "bin" / "python"
    ready = home / "ready"
    if ready.is_file() and ready.read_text() == "\n".join(peer.requirements):
        return python
    venv.create(home, with_pip=False, clear=True, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), *peer.requirements]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    if installed.returncode:
        raise RuntimeError(installed.stderr.strip() or f"pip ended with {installed.returncode}")
    shared = sysconfig.get_path("purelib")
    (site / "shared.pth").write_text(f"import site; site.addsitedir({shared!r})\n")
    ready.write_text("\n".join(peer.requirements))
    return python


def environment() -> dict[str, str]:
    """One thread, nothing fetched, adapters importable."""
    here = str(Path(__file__).resolve().parent)
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": here, "PYTHONSAFEPATH": "1"}
