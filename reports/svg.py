"""Drawing with matplotlib so that a figure reads in light and dark, and is the same bytes every time."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .status import STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "GRID",
    "INK",
    "MUTED",
    "PAPER",
    "REFERENCE_COLOUR",
    "SUBJECT_COLOUR",
    "Drawing",
    "drawn",
    "status_colour",
]

INK, MUTED, GRID, PAPER = "#1d2129", "#59616d", "#d9d6ce", "#ffffff"
SUBJECT_COLOUR, REFERENCE_COLOUR = "#b3261f", "#1f5fa8"

_DARK = {
    INK: "#e7eaee",
    MUTED: "#9aa5b3",
    GRID: "#39414d",
    PAPER: "#1a1f26",
    SUBJECT_COLOUR: "#ff8a81",
    REFERENCE_COLOUR: "#8ab8f0",
    **{status.light: status.dark for status in STATUSES.values()},
}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.facecolor": PAPER,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "axes.formatter.use_mathtext": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "legend.frameon": False,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """One figure as SVG (an `<svg>` element, text as text, both colour schemes) and as PNG (light)."""

    name: str
    title: str
    svg: str
    png: bytes


def status_colour(key: str) -> str:
    """Return the colour of a status on a light ground; the dark one is put in when the figure is written."""
    return STATUSES[key].light


def drawn(name: str, title: str, width: float, height: float, draw: Callable[[Figure], None]) -> Drawing:
    """Return the figure that `draw` draws; the same input gives the same bytes.

    Args:
        name: file name without suffix; also makes the ids inside the SVG unique within a page.
        title: what a screen reader says instead of the figure.
        width: inches, as `height`.
        height: inches.
        draw: fills the empty figure; must take its colours from this module.
    """
    # rc_context, for svg.fonttype and svg.hashsalt have no other switch; it restores what the caller had.
    with mpl.rc_context(cast("Any", _STYLE | {"svg.hashsalt": name})), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing from"
        )  # a subject may be named in any script
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        vector, pixels = io.StringIO(), io.BytesIO()
        figure.savefig(
            vector, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
        figure.savefig(pixels, format="png", dpi=144, metadata={"Software": None})
    return Drawing(
        name=name, title=title, svg=_two_schemes(vector.getvalue(), name, title), png=pixels.getvalue()
    )


def _two_schemes(text: str, name: str, title: str) -> str:
    """Return the `<svg>` element with colours that follow the reader's scheme, and ids of its own."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(
        r"<style [^>]*>.*?</style>",
        "<style>svg{stroke-linejoin:round;stroke-linecap:butt}</style>",
        text,
        count=1,
        flags=re.DOTALL,
    )
    prefix = re.sub(r"[^A-Za-z0-9-]", "-", name)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'(xlink:href="#|url\(#)([^")]+)', rf"\1{prefix}-\2", text)
    used: set[tuple[str, str]] = set()
    text = re.sub(r'style="([^"]*)"', lambda match: _classed(match[1], used), text)
    light = "".join(f".{_name(part, colour)}{{{part}:{colour}}}" for part, colour in sorted(used))
    dark = "".join(f".{_name(part, colour)}{{{part}:{_DARK[colour]}}}" for part, colour in sorted(used))
    style = f"<style>{light}@media screen and (prefers-color-scheme:dark){{{dark}}}</style>"
    escaped = title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    opening = re.match(r"<svg ([^>]*)>", text)
    assert opening is not None
    head = f'<svg role="img" aria-label="{escaped}" {opening[1]}><title>{escaped}</title>{style}'
    return head + text[opening.end() :]


def _classed(declarations: str, used: set[tuple[str, str]]) -> str:
    kept, classes = [], []
    for item in declarations.split(";"):
        part, _, value = item.strip().partition(": ")
        if part in {"fill", "stroke"} and value in _DARK:
            used.add((part, value))
            classes.append(_name(part, value))
        elif item.strip():
            kept.append(item.strip().replace("'DejaVu Sans'", "'DejaVu Sans',system-ui,sans-serif"))
    style = f' style="{"; ".join(kept)}"' if kept else ""
    return f'class="{" ".join(classes)}"{style}' if classes else style.strip()


def _name(part: str, colour: str) -> str:
    return f"sa-{part[0]}{colour[1:]}"
