"""Python environments for subjects of other releases: pinned wheels laid over the base environment."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..subjects.environment import version_in
from .base_view import base_root, interpreter_of, make_room, show
from .pip import reason_in, run_pip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..subjects.environment import Environment

__all__ = [
    "EnvironmentFailedError",
    "default_cache",
    "installed_versions",
    "interpreter",
    "is_ready",
    "materialise",
    "scrubbed_variables",
    "worker_variables",
]

_MARKER = "stepaudit-environment.json"
_SCRUBBED_PREFIX = "ACCELERATE_"
_SCRUBBED = frozenset({"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"})
"""a caller that was itself started by `accelerate launch` or torchrun must not turn every cell into a rank"""


class EnvironmentFailedError(RuntimeError):
    """An environment cannot be made; the message is one line and ends with pip's own reason."""


def default_cache() -> Path:
    """Return `STEPAUDIT_CACHE`, or the platform's user cache directory."""
    if chosen := os.environ.get("STEPAUDIT_CACHE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "stepaudit"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stepaudit"


def is_ready(environment: Environment, cache_dir: Path) -> bool:
    """Return whether `materialise` would find it made already, or would not try."""
    return bool(environment.trouble) or (_directory(environment, cache_dir) / _MARKER).is_file()


def materialise(environment: Environment, cache_dir: Path) -> Path:
    """Return the directory of an environment, made by pip the first time, offline afterwards.

    It goes on the worker's path; one that hides the base is a virtual environment, whose `interpreter` the worker runs.

    Two runs at once build it once: the second waits for the first one's lock. A build that is killed leaves a
    temporary directory, which the next build of the same environment removes.

    Raises:
        EnvironmentFailedError: it cannot be had, pip could not install it, or the cache cannot be written.
    """
    if environment.trouble or environment.asked:
        why = environment.trouble or f"nobody has found what {' '.join(environment.asked)} needs"
        raise EnvironmentFailedError(f"environment {environment.name}: {why}")
    directory = _directory(environment, cache_dir)
    if is_ready(environment, cache_dir):
        return directory
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with _locked(directory.with_name(f".{directory.name}.lock")):
            if not is_ready(environment, cache_dir):
                _build(environment, directory)
    except OSError as error:
        raise EnvironmentFailedError(
            f"environment {environment.name}: cannot write its cache {cache_dir}: {error.strerror or error}"
        ) from error
    return directory


def installed_versions(packages: Iterable[str], environment: Environment | None) -> dict[str, str]:
    """Return each distribution's version as a worker sees it: the environment's pin, else the installed one.

    A distribution that is nowhere is `absent`, a version like any other: installing it changes the ids.
    """
    return {package: version_in(package, environment) for package in packages}


def interpreter(environment: Environment | None, directory: Path | None) -> str:
    """Return the interpreter of a worker: that of its environment where it hides the base, else the one that runs."""
    if environment is None or environment.base is None or directory is None:
        return sys.executable
    return interpreter_of(directory)


def scrubbed_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's variables that workers do not get: they would change what a trainer does."""
    return {
        name: value
        for name, value in sorted(variables.items())
        if name.startswith(_SCRUBBED_PREFIX) or name in _SCRUBBED
    }


def worker_variables(
    environment: Environment | None, directory: Path | None, *, on_cpu: bool = True
) -> dict[str, str]:
    """Return a worker's whole environment block: the caller's, scrubbed, one thread, offline, overlaid.

    Workers of cells that belong on the CPU see no accelerator: trainers that find one use it, asked or not.
    """
    variables = dict(os.environ)
    for name in scrubbed_variables(variables):
        del variables[name]
    variables |= {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if on_cpu:
        variables["CUDA_VISIBLE_DEVICES"] = ""
    # A source checkout on the path would shadow the distribution `kernels` that transformers imports.
    checkout = Path(__file__).resolve().parents[2]
    path = [item for item in variables.get("PYTHONPATH", "").split(os.pathsep) if item]
    path = [item for item in path if Path(item).resolve() != checkout]
    if directory is not None and (environment is None or environment.base is None):
        path.insert(0, str(directory))
    variables["PYTHONPATH"] = os.pathsep.join(path)
    if environment is not None:
        variables |= environment.variables
    return variables


def _directory(environment: Environment, cache_dir: Path) -> Path:
    key = environment.key
    if environment.base is not None:  # it is full of links to the base, and worth nothing over another one
        key = hashlib.sha256(f"{key} {base_root()}".encode()).hexdigest()[:16]
    return cache_dir.absolute() / "environments" / f"{environment.name}-{key}"


def _build(environment: Environment, directory: Path) -> None:
    """Install into a directory beside the final one and rename it, so that a half-made one is never seen."""
    for leftover in directory.parent.glob(f".{directory.name}.building-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if directory.exists():
        shutil.rmtree(directory)
    building = Path(tempfile.mkdtemp(prefix=f".{directory.name}.building-", dir=directory.parent))
    try:
        if environment.base is None:
            _pip_install(environment, building)
        else:
            site = make_room(building)
            if environment.requirements:
                _pip_install(environment, site)
            show(site, [pin.partition("==")[0] for pin in environment.base])
        described = {"name": environment.name, "requirements": environment.requirements}
        (building / _MARKER).write_text(json.dumps(described) + "\n", encoding="utf-8")
        building.chmod(0o755)
        building.rename(directory)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _pip_install(environment: Environment, target: Path) -> None:
    answer = run_pip(
        "install", "--no-deps", "--no-compile", "--quiet", "--target", str(target), *environment.requirements
    )
    if not answer.ok:
        pins = " ".join(environment.requirements)
        raise EnvironmentFailedError(
            f"environment {environment.name}: pip cannot install {pins}: {reason_in(answer)}"
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
