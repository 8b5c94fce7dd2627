"""A room of its own: a virtual environment that sees, of the base, the distributions it needs and no other."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
import venv
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["base_root", "interpreter_of", "make_room", "show", "site_of"]

_OURS = ("harness", "kernels", "scenarios")
"""what of this project a worker imports"""


def base_root() -> str:
    """Return what tells one base environment from another on this machine: its place, and that of this project."""
    return os.pathsep.join((sys.prefix, *map(str, _our_folders())))


def interpreter_of(room: Path) -> str:
    """Return the interpreter that lives in a room."""
    return str(room / "bin" / "python")


def site_of(room: Path) -> Path:
    """Return the folder in which a room's distributions lie."""
    return room / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def make_room(room: Path) -> Path:
    """Make an empty virtual environment of the interpreter that runs; return where its distributions go.

    Raises:
        OSError: it cannot be written.
    """
    venv.EnvBuilder(symlinks=True, with_pip=False).create(room)
    return site_of(room)


def show(site: Path, distributions: Iterable[str]) -> None:
    """Link distributions of the base into a room, and this project; what lies there already comes first.

    Raises:
        OSError: it cannot be written.
        importlib.metadata.PackageNotFoundError: the base has no such distribution.
    """
    for name in distributions:
        distribution = importlib.metadata.distribution(name)
        folder = Path(str(distribution.locate_file("")))
        for entry in sorted({file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}):
            _link(folder / entry, site / entry)
    ours = site / "stepaudit"
    ours.mkdir(exist_ok=True)
    for folder in _our_folders():
        _link(folder, ours / folder.name)


def _our_folders() -> list[Path]:
    found = (importlib.util.find_spec(f"stepaudit.{name}") for name in _OURS)
    return [
        Path(spec.submodule_search_locations[0]) for spec in found if spec and spec.submodule_search_locations
    ]


def _link(source: Path, target: Path) -> None:
    """Link one entry; a folder that is there already, a namespace of several distributions, is filled up."""
    if not source.exists():
        return
    if target.is_symlink() or not target.exists():
        with suppress(FileExistsError):
            target.symlink_to(source)
        return
    if source.is_dir() and target.is_dir() and not (target / "__init__.py").exists():
        for entry in source.iterdir():
            _link(entry, target / entry.name)
