"""What a cell raised, as its error. Standard library only."""

from __future__ import annotations

import traceback
from dataclasses import replace

from ..ledger import CellError, CellRecord
from .wire import WireError

__all__ = ["failure_of", "named_memory"]


def failure_of(error: BaseException) -> CellError:
    """Return the error that is being handled, with its traceback; `sys.exit` is a subject's too."""
    return CellError(kind=_kind(error), message=_line(error), traceback=traceback.format_exc())


def named_memory(record: CellRecord) -> CellRecord:
    """Call an allocation that failed what it is, whoever caught it."""
    error = record.error
    if error is None or error.kind != "exception":
        return record
    words = ("MemoryError", "can't allocate memory", "out of memory")
    if any(word in error.message or word in error.traceback.rstrip().rpartition("\n")[2] for word in words):
        return replace(record, error=replace(error, kind="memory"))
    return record


def _kind(error: BaseException) -> str:
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "memory"
    if isinstance(error, SystemExit):
        return "exit"
    return "protocol" if isinstance(error, WireError) else "exception"


def _line(error: BaseException) -> str:
    """Return the error as one line: its kind and the first line of its message."""
    if isinstance(error, SystemExit):
        return f"the subject called sys.exit({error.code!r})"
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
