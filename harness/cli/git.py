"""What git says of the project: the commit, the merge base, a file as it was there."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from ...scenarios import ScenarioError, nearest

__all__ = ["Commit", "FileAtBase", "commit_of", "file_at_merge_base", "project_of", "user_of"]

_SECONDS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """The commit under test; `dirty` where the working tree differs from it."""

    name: str
    dirty: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class FileAtBase:
    """A file as it was where the branch under test left another.

    Attributes:
        commit: the merge base, abbreviated.
        text: None where the file did not exist there.
    """

    commit: str
    text: str | None


def file_at_merge_base(path: Path, ref: str) -> FileAtBase:
    """Return a file as it was at the merge base of HEAD and `ref`.

    Raises:
        ScenarioError: there is no git, no repository around the file, no such ref, or no common ancestor.
    """
    folder = path.resolve().parent
    top = _asked(folder, "rev-parse", "--show-toplevel")
    if top is None:
        raise ScenarioError(f"--base-ref {ref}: {path} is in no git repository")
    if _asked(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}") is None:
        refs = (_asked(folder, "for-each-ref", "--format=%(refname:short)") or "").split()
        raise ScenarioError(f"--base-ref {ref}: git knows no such commit{nearest(ref, refs) if refs else ''}")
    base = _asked(folder, "merge-base", "--end-of-options", "HEAD", ref)
    if base is None:
        raise ScenarioError(
            f"--base-ref {ref}: it has no common ancestor with HEAD here; a shallow clone needs more history "
            "(git fetch --unshallow, fetch-depth: 0)"
        )
    inside = path.resolve().relative_to(Path(top).resolve()).as_posix()
    short = base[:12]
    if not _asked(folder, "ls-tree", "--full-tree", "--name-only", base, "--", inside):
        return FileAtBase(commit=short, text=None)
    text = _asked(folder, "show", f"{base}:{inside}", strip=False)
    if text is None:
        raise ScenarioError(f"--base-ref {ref}: git cannot show {inside} at {short}")
    return FileAtBase(commit=short, text=text)


def commit_of(folder: Path) -> Commit | None:
    """Return the commit that a directory is at; None where git cannot say."""
    name = _asked(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if name is None:
        return None
    return Commit(name=name, dirty=bool(_asked(folder, "status", "--porcelain", "--untracked-files=no")))


def user_of(folder: Path) -> str | None:
    """Return git's `user.name`; None where it has none."""
    return _asked(folder, "config", "user.name") or None


def project_of(folder: Path) -> str:
    """Return what tells one project from another: its repository, whatever the working tree, else the directory."""
    common = _asked(folder, "rev-parse", "--path-format=absolute", "--git-common-dir")
    return str(Path(common).resolve() if common is not None else folder.resolve())


def _asked(folder: Path, *arguments: str, strip: bool = True) -> str | None:
    """Return what git prints; None where it fails or is not there."""
    try:
        done = subprocess.run(  # noqa: S603  arguments are ours, or follow --end-of-options
            ["git", "-C", str(folder), *arguments],  # noqa: S607  the user's own git
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    return done.stdout.strip() if strip else done.stdout
