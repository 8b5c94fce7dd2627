"""The peers, and the wheels of each laid over the running environment: made by pip once, cached, apart from it."""

from __future__ import annotations

import os
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

from stepaudit.harness.running.environment import default_cache, materialise, worker_variables
from stepaudit.harness.subjects.environment import Environment

__all__ = ["PEERS", "Peer", "python_of", "variables_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A peer, and how it is asked.

    Attributes:
        name: on the package index.
        requirements: pinned; torch is the running environment's, as for every subject.
        adapter: module in this directory.
        few: whether it is given one fault a family unless faults are named, because it takes minutes for each.
        own_python: whether it needs an interpreter of its own: one that overwrites PYTHONPATH for what it starts.
    """

    name: str
    requirements: tuple[str, ...]
    adapter: str
    few: bool = False
    own_python: bool = False


PEERS = {
    peer.name: peer
    for peer in (
        Peer(name="trainparity", requirements=("trainparity==0.1.0",), adapter="with_trainparity"),
        Peer(name="pytest-torch", requirements=("pytest-torch==1.1.1",), adapter="with_pytest_torch"),
        Peer(
            name="traincheck",
            requirements=(
                "traincheck==0.2.0",
                "astor==0.8.1",
                "numba==0.68.1",
                "llvmlite==0.50.0",
                "polars==2.1.0",
                "polars-runtime-32==2.1.0",
                "orjson==3.13.0",
                "watchdog==7.1.0",
            ),
            adapter="with_traincheck",
            few=True,
            own_python=True,
        ),
    )
}


def _overlay(peer: Peer) -> tuple[Environment, Path]:
    environment = Environment(name=f"peer-{peer.name}", requirements=peer.requirements)
    return environment, materialise(environment, default_cache())


def python_of(peer: Peer | None) -> Path:
    """Return the interpreter of a peer's processes.

    Raises:
        EnvironmentFailedError: pip could not install it.
    """
    if peer is None or not peer.own_python:
        return Path(sys.executable)
    _, directory = _overlay(peer)
    home = directory.with_name(f"{directory.name}-python")
    python = home / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    paths = site / "laid-over.pth"
    if not paths.is_file():
        venv.create(home, with_pip=False, clear=True, symlinks=True)
        shared = sysconfig.get_path("purelib")
        paths.write_text(f"{directory}\nimport site; site.addsitedir({shared!r})\n", encoding="utf-8")
    return python


def variables_of(peer: Peer | None) -> dict[str, str]:
    """Return the environment block of a peer's processes: its wheels and the adapters on the path, one thread, offline.

    Raises:
        EnvironmentFailedError: pip could not install it; the message ends with pip's own reason.
    """
    environment = directory = None
    if peer is not None:
        environment, directory = _overlay(peer)
    variables = worker_variables(environment, directory)
    path = [str(Path(__file__).resolve().parent), variables["PYTHONPATH"]]
    return variables | {"PYTHONPATH": os.pathsep.join(filter(None, path)), "PYTHONSAFEPATH": "1"}
