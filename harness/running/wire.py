"""Length-prefixed frames over a pipe of their own, between runner and worker. Standard library only."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LARGEST_FRAME", "Inbox", "WireError", "receive", "send"]

LARGEST_FRAME = 2**28
"""a frame that claims to be larger is garbage; a compressed record of a million events stays below it"""

_HEAD = struct.Struct(">4sI")
_MAGIC = b"SA1:"


class WireError(ValueError):
    """What arrived is not a frame of ours."""


def send(descriptor: int, payload: bytes) -> None:
    """Write one frame; blocks while the pipe is full."""
    if len(payload) > LARGEST_FRAME:
        raise WireError(f"a frame of {len(payload)} bytes is larger than {LARGEST_FRAME}")
    rest = memoryview(_HEAD.pack(_MAGIC, len(payload)) + payload)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def receive(descriptor: int) -> bytes | None:
    """Read one frame, or None when the other side has closed; blocks."""
    head = _read_exactly(descriptor, _HEAD.size)
    return None if head is None else _read_exactly(descriptor, _length(head))


class Inbox:
    """Reassembles frames from the chunks that a non-blocking reader sees."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield every frame that is complete now; WireError when the bytes cannot be frames."""
        self._bytes += chunk
        while len(self._bytes) >= _HEAD.size:
            end = _HEAD.size + _length(self._bytes[: _HEAD.size])
            if len(self._bytes) < end:
                return
            frame = bytes(self._bytes[_HEAD.size : end])
            del self._bytes[:end]
            yield frame


def _length(head: bytes | bytearray) -> int:
    magic, length = _HEAD.unpack(head)
    if magic != _MAGIC or length > LARGEST_FRAME:
        raise WireError(f"not a frame: it begins with {bytes(head)!r}")
    return int(length)


def _read_exactly(descriptor: int, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        chunk = os.read(descriptor, count - len(parts))
        if not chunk:
            return None
        parts += chunk
    return bytes(parts)
