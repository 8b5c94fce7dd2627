"""A page on a terminal: lines of styled parts, wrapped where people read and never where they copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from .status import Status
from .text import DASH, TIMES

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Page"]


class Page:
    """Writes lines of styled parts; no text is ever read as rich markup."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._ascii = console.options.ascii_only

    def shape(self, status: Status) -> str:
        """Return the shape of a status, as this terminal can show it."""
        return status.ascii if self._ascii else status.shape

    def line(self, *parts: tuple[str, str], wrap: bool = True) -> None:
        """Print the parts as one line; where it must go on below, it goes on indented."""
        text = Text.assemble(
            *((_to_ascii(part), style) if self._ascii else (part, style) for part, style in parts)
        )
        if not wrap or len(text) <= self.console.width:
            self.console.print(text, soft_wrap=True, highlight=False)
            return
        for number, row in enumerate(text.wrap(self.console, max(20, self.console.width - 4))):
            row.rstrip()
            indent = "    " if number else ""
            self.console.print(Text.assemble(indent, row), soft_wrap=True, highlight=False)

    def items(self, parts: list[tuple[str, str]]) -> None:
        """Print parts side by side, as many a line as fit, none of them broken."""
        row: list[tuple[str, str]] = []
        for part in parts:
            if row and sum(len(text) for text, _ in [*row, part]) > self.console.width:
                self.line(*row, wrap=False)
                row = []
            row.append(part)
        self.line(*row, wrap=False)

    def title(self, title: str) -> None:
        """Begin a section."""
        self.line()
        self.line((title, "bold"))

    def field(self, name: str, value: str, style: str = "") -> None:
        """Print `name  value`; a long value goes on below itself, not below the name."""
        width = max(30, self.console.width - 17)
        lines = Text(_to_ascii(value) if self._ascii else value).wrap(self.console, width) or [Text("")]
        for number, part in enumerate(lines):
            self.line(
                (f"   {name if number == 0 else '':<12}  ", "dim"), (part.plain.rstrip(), style), wrap=False
            )


def _to_ascii(text: str) -> str:
    for char, plain in (
        (TIMES, "x"),
        ("“", '"'),
        ("”", '"'),
        ("…", "..."),
        ("—", "-"),
        (DASH, "-"),
        ("≥", ">="),
        ("≤", "<="),
        ("·", "."),
    ):
        text = text.replace(char, plain)
    return text.encode("ascii", "backslashreplace").decode()
