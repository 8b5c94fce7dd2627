"""What the ranks of a job leave behind in its directory, and the one record that is made of it."""

from __future__ import annotations

import array
import os
import re
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..ledger import CellError, CellRecord, RankLedger, Stopped
from .packed import PackedRecord, error_record

if TYPE_CHECKING:
    from .request import CellRequest

__all__ = ["Job", "joined"]

_FRAME = re.compile(r'File "([^"]+)", line (\d+) in (\S+)')
_LOST_PEER = re.compile(r"connection (closed|reset|refused)|broken pipe|gloo|socket", re.IGNORECASE)
"""what a rank says when another one has gone"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """The directory of a job of `count` ranks."""

    directory: Path
    count: int

    @property
    def agent_trouble(self) -> Path:
        """Where the agent writes what went wrong with itself."""
        return self.directory / "agent"

    def note_pid(self, rank: int, pid: int) -> None:
        """The rank has begun."""
        self._put(rank, "pid", str(pid).encode())

    def pid(self, rank: int) -> int:
        """Return the process id of a rank, 0 where it never began."""
        return int(self._get(rank, "pid") or 0)

    def note_end(self, rank: int, status: int) -> None:
        """The rank has ended, by itself, with this status of `waitpid`."""
        self._put(rank, "ended", f"{status} {time.monotonic()}".encode())

    def ended(self, rank: int) -> tuple[int, float] | None:
        """Return how and when a rank ended; None where it runs, or was killed together with its guard."""
        status, _, at = self._get(rank, "ended").decode().partition(" ")
        return (int(status), float(at)) if at else None

    def open_dump(self, rank: int) -> int:
        """Return a descriptor for a rank's last words."""
        return os.open(self.directory / f"{rank}.dump", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def dump(self, rank: int) -> str:
        """Return a rank's last words: faulthandler's tracebacks."""
        return self._get(rank, "dump").decode(errors="replace")

    def leave(self, rank: int, packed: PackedRecord, parameters: bytes) -> None:
        """Leave a rank's record and final parameters (float64) for the worker."""
        self._put(rank, "parameters", parameters)
        self._put(rank, "record", packed.to_frame())

    def record(self, rank: int) -> CellRecord | None:
        """Return the record that a rank left."""
        frame = self._get(rank, "record")
        return PackedRecord.from_frame(frame).record() if frame else None

    def parameters(self, rank: int) -> array.array[float]:
        """Return the final parameters of a rank, one after the other."""
        return array.array("d", self._get(rank, "parameters"))

    def _put(self, rank: int, what: str, content: bytes) -> None:
        path = self.directory / f"{rank}.{what}"
        unfinished = path.with_suffix(f".{what}~")
        unfinished.write_bytes(content)
        unfinished.replace(path)

    def _get(self, rank: int, what: str) -> bytes:
        try:
            return (self.directory / f"{rank}.{what}").read_bytes()
        except OSError:
            return b""


def joined(request: CellRequest, job: Job, *, patience: float | None) -> CellRecord:
    """Return the record of the cell: rank 0's with the ledgers of the others, or the error of the rank that failed.

    Args:
        request: of the cell.
        job: its ranks have ended.
        patience: seconds after which they were killed; None where they ended by themselves.
    """
    records = [job.record(rank) for rank in range(job.count)]
    stopped = any(record is not None and _is_stopped(record) for record in records)
    blamed = None if stopped and records[0] is not None else _blame(job, records, patience)
    if blamed is not None:
        return error_record(request, blamed)
    first, *others = records
    assert first is not None
    if (
        first.error is not None
    ):  # another rank was stopped, and took this one with it: what it did is what counts
        first = replace(first, outcome=_stopped_one(records).outcome, error=None)
    return replace(
        first,
        others=tuple(
            RankLedger(
                rank=rank,
                events=() if record is None else record.events,
                claims=first.claims if record is None else record.claims,
                parameter_distance=_distance(job.parameters(0), job.parameters(rank)),
            )
            for rank, record in enumerate(others, start=1)
        ),
    )


def _is_stopped(record: CellRecord) -> bool:
    return bool(record.events) and isinstance(record.events[-1], Stopped)


def _stopped_one(records: list[CellRecord | None]) -> CellRecord:
    return next(record for record in records if record is not None and _is_stopped(record))


def _distance(one: array.array[float], other: array.array[float]) -> float:
    if len(one) != len(other):
        return float("inf")
    return max((abs(left - right) for left, right in zip(one, other, strict=True)), default=0.0)


def _blame(job: Job, records: list[CellRecord | None], patience: float | None) -> CellError | None:
    """Return the error of the first rank that failed by itself, or None if none did."""
    ranks = range(job.count)
    words = {rank: _words(job, rank, record) for rank, record in enumerate(records)}
    died = [
        (ended[1], rank)
        for rank in ranks
        if (ended := job.ended(rank)) and ended[0] and records[rank] is None
    ]
    if died:
        rank = min(died)[1]
        kind, what = _death(job.ended(rank))
        return CellError(kind=kind, message=f"rank {rank} of {job.count} {what}", traceback=_all(words, rank))
    raised = [
        (bool(_LOST_PEER.search(error.message)), (job.ended(rank) or (0, float("inf")))[1], rank)
        for rank, record in enumerate(records)
        if record is not None and (error := record.error) is not None
    ]
    if raised:
        rank = min(raised)[2]
        failed = records[rank]
        assert failed is not None
        assert failed.error is not None
        message = f"rank {rank} of {job.count}: {failed.error.message}"
        return replace(failed.error, message=message, traceback=_all(words, rank))
    if patience is not None:
        where = "; ".join(_where(job, rank, records[rank]) for rank in ranks)
        message = f"no result of {job.count} ranks after {patience:g} s: {where}"
        return CellError(kind="timeout", message=message, traceback=_all(words, None))
    if None in records:
        trouble = job.agent_trouble.read_text(encoding="utf-8") if job.agent_trouble.is_file() else ""
        last = (trouble.strip().splitlines() or ["it ended and said nothing"])[-1]
        return CellError(kind="protocol", message=f"torchrun's agent failed: {last}", traceback=trouble)
    return None


def _death(ended: tuple[int, float] | None) -> tuple[str, str]:
    status = ended[0] if ended else 0
    if not os.WIFSIGNALED(status):
        return "exit", f"exited with code {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    return "killed", f"was killed by {name}"


def _words(job: Job, rank: int, record: CellRecord | None) -> str:
    """Return what a rank has to say of its end."""
    if record is not None:
        return record.error.traceback if record.error else "ended"
    return job.dump(rank) or "ended without a word" if job.pid(rank) else "never began"


def _all(words: dict[int, str], first: int | None) -> str:
    """Return the words of all ranks, those of the rank that is blamed first."""
    order = sorted(words, key=lambda rank: (rank != first, rank))
    return "\n".join(f"rank {rank}:\n{words[rank].strip()}\n" for rank in order)


def _where(job: Job, rank: int, record: CellRecord | None) -> str:
    if record is not None:
        return f"rank {rank} has ended"
    if not job.pid(rank):
        return f"rank {rank} never began"
    current = job.dump(rank).partition("Current thread")[2]
    frame = _FRAME.search(current)
    if frame is None:
        return f"rank {rank} says nothing"
    path, line, function = frame.groups()
    return f"rank {rank} is in {function} ({Path(path).name}:{line})"
