"""Makes the text of strangers safe to show: a trainer's output, a traceback, a name."""

from __future__ import annotations

import re

__all__ = ["DASH", "TIMES", "command_line", "count", "one_line", "printable", "quoted", "shortened"]

DASH = "\N{EN DASH}"
"""stands where a witness gives no figure"""
TIMES = "\N{MULTIPLICATION SIGN}"

_ANSI = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor moves
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: titles, hyperlinks
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # device control and other strings
    r"|\x1b[ -/]*[0-~]?"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"  # invisible, or turns the line around
    "\ud800-\udfff\ufffe\uffff]"  # not characters at all: no XML and no UTF-8 file can hold them
)


def printable(text: str) -> str:
    r"""Return `text` without terminal escapes; other characters that no file or screen should get as `\x00`.

    Newlines and tabs stay; a carriage return, which redraws a progress bar, becomes a newline.
    """
    text = _ANSI.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _UNSAFE.sub(_escaped, text)


def one_line(text: str, limit: int = 300) -> str:
    """Return `text` as one printable line of at most about `limit` characters."""
    return shortened(" ".join(printable(text[: 20 * limit + 1000]).split()), limit, full=len(text))


def shortened(text: str, limit: int, *, full: int = 0) -> str:
    """Return `text`, its middle left out where it is longer than `limit`; says how much is missing."""
    if len(text) <= limit:
        return text
    if limit < 120:
        return f"{text[: limit - 1]}…"
    head, tail = limit * 2 // 3, limit // 3
    missing = max(full, len(text)) - head - tail
    return f"{text[:head]} … ({missing:,} characters left out) … {text[len(text) - tail :]}"


def command_line(text: str) -> str:
    """Return a command as one printable line; spaces stay as they are, for they may stand between quotes."""
    return shortened(printable(text[:50_000]).strip().replace("\n", " "), 2000, full=len(text))


def count(number: int, noun: str, plural: str = "") -> str:
    """Return `1 cell`, `2 cells`, `20,000 cells`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def quoted(text: str) -> str:
    """Return a value as the selection grammar writes it."""
    escaped = one_line(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
