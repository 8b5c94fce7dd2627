"""What a subject prints: descriptors 1 and 2, drained into a bounded buffer that outlives the worker.

Pipe and buffer are made by the runner, so what a subject said last is known after a segfault too.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import io
import mmap
import os
import select
import struct
import sys
import termios
import threading
import time
from typing import Final

__all__ = ["BUFFER_BYTES", "HEAD", "TAIL", "Buffer", "begin", "install", "leave", "take", "widen"]

HEAD: Final = 256 * 1024
TAIL: Final = 64 * 1024
_COUNT: Final = struct.Struct("<Q")
_AVAILABLE: Final = struct.Struct("i")
BUFFER_BYTES: Final = _COUNT.size + HEAD + TAIL
_CHUNK: Final = 1 << 18
_PAUSE_S: Final = 0.005
"""between two looks at a pipe that is filling slowly: a progress bar must not wake a thread per refresh"""
_F_SETPIPE_SZ: Final = 1031


class Buffer:
    """Head and tail of a byte stream, in `BUFFER_BYTES` of shared memory behind a descriptor.

    It allocates nothing while it works: a subject that took all memory must still get rid of its text.
    """

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, BUFFER_BYTES)
        self._chunk = memoryview(bytearray(_CHUNK))

    def clear(self) -> None:
        """Forget everything."""
        _COUNT.pack_into(self._memory, 0, 0)

    def pour(self, source: int) -> int:
        """Move what is in the pipe at this moment, and no more, into the buffer; return the bytes moved."""
        (available,) = _AVAILABLE.unpack(fcntl.ioctl(source, termios.FIONREAD, bytes(_AVAILABLE.size)))
        moved = 0
        while moved < available:
            count = os.readv(source, [self._chunk])
            self._append(self._chunk[:count])
            moved += count
        return moved

    def text(self) -> str:
        """Return head and tail, with the number of bytes between them that were left out."""
        (count,) = _COUNT.unpack_from(self._memory)
        head = self._memory[_COUNT.size : _COUNT.size + min(count, HEAD)]
        ring = self._memory[_COUNT.size + HEAD : BUFFER_BYTES]
        past = count - HEAD
        if past <= TAIL:
            whole = head + ring[: max(past, 0)]
        else:
            omitted = f"\n... {past - TAIL} bytes left out ...\n".encode()
            whole = head + omitted + ring[past % TAIL :] + ring[: past % TAIL]
        return whole.decode(errors="replace")

    def _append(self, chunk: memoryview) -> None:
        (count,) = _COUNT.unpack_from(self._memory)
        room = max(HEAD - count, 0)
        self._put(_COUNT.size + count, chunk[:room])
        rest = chunk[room:]
        at = max(count - HEAD, 0) + max(len(rest) - TAIL, 0)
        rest = rest[-TAIL:]
        first = TAIL - at % TAIL
        self._put(_COUNT.size + HEAD + at % TAIL, rest[:first])
        self._put(_COUNT.size + HEAD, rest[first:])
        _COUNT.pack_into(self._memory, 0, count + len(chunk))

    def _put(self, at: int, chunk: memoryview) -> None:
        if chunk:
            self._memory[at : at + len(chunk)] = chunk


class _Capture:
    """Watches the pipe that is this process's descriptors 1 and 2."""

    def __init__(self, buffer: int, source: int) -> None:
        self._buffer = Buffer(buffer)
        self._source = source
        self._pipe = os.dup(1)
        for stream in (sys.stdout, sys.stderr):
            # What was printed is in the pipe before a subject can crash, or give the descriptor to somebody else.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(line_buffering=True, write_through=True)
        self._streams = sys.stdout, sys.stderr
        self._libc = ctypes.CDLL(None)
        self._lock = threading.Lock()
        threading.Thread(target=self._drain, name="stepaudit-output", daemon=True).start()

    def begin(self) -> None:
        """Forget what was printed; take descriptors and streams back from a subject that replaced them."""
        self._flush()
        os.dup2(self._pipe, 1)
        os.dup2(self._pipe, 2)
        sys.stdout, sys.stderr = self._streams
        with self._lock:
            self._buffer.pour(self._source)
            self._buffer.clear()

    def take(self) -> str:
        """Return all that was printed since `begin`: what was written is in the pipe or drained from it."""
        self._flush()
        with self._lock:
            self._buffer.pour(self._source)
            return self._buffer.text()

    def _flush(self) -> None:
        for stream in (sys.stdout, sys.stderr, *self._streams):
            with contextlib.suppress(Exception):
                stream.flush()
        self._libc.fflush(None)

    def _drain(self) -> None:
        poller = select.poll()
        poller.register(self._source, select.POLLIN)
        while True:
            poller.poll()
            with self._lock:
                moved = self._buffer.pour(self._source)
            if moved < _CHUNK:
                time.sleep(_PAUSE_S)


_capture: _Capture | None = None


def widen(pipe: int) -> None:
    """Make a pipe a megabyte wide: C code may print while it holds the interpreter's lock."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, 1 << 20)


def install(buffer: int, source: int) -> None:
    """Capture this process's output for good.

    Args:
        buffer: descriptor of `BUFFER_BYTES` of shared memory.
        source: reading end, not blocking, of the pipe that descriptors 1 and 2 write to.
    """
    global _capture  # noqa: PLW0603 - descriptors 1 and 2 are global too
    _capture = _Capture(buffer, source)


def leave() -> None:
    """In a child that was forked off: what it prints goes into the pipe as before, its parent reads it."""
    global _capture  # noqa: PLW0603 - the thread that drained the pipe is the parent's
    _capture = None


def begin() -> None:
    """Start a cell: forget what was printed so far. Does nothing in a process that captures nothing."""
    if _capture is not None:
        _capture.begin()


def take() -> str:
    """Return what this process and its children printed since `begin`; empty where nothing is captured."""
    return "" if _capture is None else _capture.take()
