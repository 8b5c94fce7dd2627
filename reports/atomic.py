"""Writes a file so that a reader sees the old text or the new one, never half of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Write `content` to `path` by way of a temporary file beside it and a rename.

    Raises:
        OSError: the folder cannot be written or the disk is full; `path` is then as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)  # mkstemp makes the file private; a report is to be read by others
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path
