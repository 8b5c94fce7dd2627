"""`run.json`: which cells belong to the run in a directory, so that it can be judged and reported again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from ..judging.verdict import Verdict

__all__ = [
    "MANIFEST",
    "RECORDS",
    "KnownText",
    "Manifest",
    "ManifestError",
    "read_manifest",
    "verdict_in",
    "write_manifest",
]

MANIFEST = "run.json"
RECORDS = "records.sqlite"


class ManifestError(ValueError):
    """A directory that holds no run, or one that cannot be read."""


class KnownText(BaseModel):
    """A file of known deviations as a run read it.

    Attributes:
        source: for people: the file, or the file at a commit.
        file: the path as it was given; `built-in` for the one that comes with stepaudit.
        text: its TOML.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: str
    file: str
    text: str


class Manifest(BaseModel):
    """What `check` needs besides the records."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1] = 1
    command: str
    suite: str
    started: str
    seconds: float
    device: str
    contract: str | None
    rules: list[str] | None
    executed: int
    from_store: int
    repeated: int
    interrupted: bool
    pairs: list[int] | None
    cells: list[str]
    reference_cells: list[str]
    known: list[KnownText] | None = None
    """what was known when the run started; None in runs of before this was kept"""
    suite_file: str | None = None
    """the user's suite file, for annotations"""
    museum: str | None = None
    """the TOML of the museum, as the run read it; None for any other suite"""


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write it in one go: a reader sees the old one or the new one."""
    handle, name = tempfile.mkstemp(prefix=".run-", dir=directory)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(manifest.model_dump_json(indent=1) + "\n")
        Path(name).replace(directory / MANIFEST)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_manifest(directory: Path) -> Manifest:
    """Return the run of a directory.

    Raises:
        ManifestError: there is none, or it is not one of ours.
    """
    path = directory / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ManifestError(f"{directory} holds no run: there is no {MANIFEST}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ManifestError(f"{path} is no run of this version: {where}: {first['msg']}") from None


def verdict_in(directory: Path) -> Verdict:
    """Return the verdict of the run in a directory.

    Raises:
        ManifestError: there is none, or it is not one of ours.
    """
    from ...reports.json_file import read_verdict

    try:
        return read_verdict(directory / "verdict.json")
    except FileNotFoundError:
        raise ManifestError(f"{directory} holds no verdict: there is no verdict.json") from None
    except ValueError as error:
        raise ManifestError(str(error)) from None
