"""`report.html`: one self-contained page; verdict, clusters and reproduce lines need no script."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ..harness.contract import CONTRACTS
from ..harness.contract.examples import rule_examples
from ..scenarios import ScenarioError, scenario_from_mapping
from .diagnosis_text import basis_of, really
from .exhibits import Exhibit, cluster_key
from .extras import NO_EXTRAS, Extras, changes_between, since_text
from .heat import heat_of
from .island import FIGURES, island_json
from .overview import (
    by_severity,
    duration,
    facts,
    headline,
    known_clusters,
    matrix,
    next_moves,
    open_clusters,
    trouble_groups,
    unsupported_groups,
)
from .status import STATUSES, cell_status, outcome_status, standing_status
from .text import DASH, command_line, one_line, printable, quoted, shortened
from .versions import lineages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..harness.judging.verdict import CellVerdict, Cluster, Figures, Verdict
    from .details import Details
    from .svg import Drawing

__all__ = ["MOST_CARDS", "page_text"]

MOST_CARDS = 40
"""clusters that get a card each; the others are one line"""
_STATIC_ROWS = 100
_TEMPLATES = Path(__file__).with_name("templates")
_SCRIPTS = (
    "island.js",
    "query.js",
    "table.js",
    "drawing.js",
    "lanes.js",
    "books.js",
    "curves.js",
    "cell.js",
    "heat.js",
    "page.js",
)
_ACCOUNTS = ("expected", "observed", "claimed", "reference")


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountRow:
    """One figure as the witnesses give it; `parts` where they disagree."""

    name: str
    values: tuple[str, ...]
    parts: bool


def page_text(
    verdict: Verdict,
    *,
    exhibits: Sequence[Exhibit] = (),
    steps: Drawing | None = None,
    losses: Mapping[str, Drawing] | None = None,
    replays: Sequence[Drawing] = (),
    details: Details | None = None,
    extras: Extras = NO_EXTRAS,
) -> str:
    """Return the page.

    Args:
        verdict: what to show.
        exhibits: of the clusters' smallest cells, from `exhibits_of`.
        steps: the figure of step counts, if counts part anywhere.
        losses: the loss figures by the exhibit's slug.
        replays: the figures of runs beside their replays.
        details: lanes, books and curves of some cells, from `details_of`.
        extras: what is known of earlier runs.
    """
    drawings = losses or {}
    by_cluster = {cluster_key(exhibit.cluster): exhibit for exhibit in exhibits}
    cells = {cell.id: cell for cell in verdict.cells}
    opened, known = open_clusters(verdict), known_clusters(verdict)
    twins = _twins([*opened, *known])
    script = _scripts()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    context: dict[str, Any] = {
        "verdict": verdict,
        "headline": headline(verdict),
        "outcome": outcome_status(verdict),
        "facts": facts(verdict),
        "moves": next_moves(verdict),
        "opened": opened[:MOST_CARDS],
        "opened_rest": opened[MOST_CARDS:],
        "known": known,
        "most_known": MOST_CARDS,
        "exhibit_of": lambda cluster: by_cluster.get(cluster_key(cluster)),
        "loss_of": lambda exhibit: _svg(drawings.get(exhibit.slug)),
        "accounts_of": lambda cluster: _account_rows(cells.get(cluster.smallest)),
        "twin_of": lambda cluster: twins.get(cluster_key(cluster)),
        "trouble": trouble_groups(verdict),
        "unsupported": unsupported_groups(verdict),
        "matrix": matrix(verdict),
        "rule_examples": _rule_examples([*opened, *known]),
        "held_examples": _held_examples(verdict),
        "heat": heat_of(verdict),
        "heat_rows": lambda block: [(row.subject, row.cells) for row in block.rows],
        "heat_query": lambda subject, cell: f"subject:{quoted(subject)} {cell.query}",
        "lineages": lineages(verdict),
        "first": opened[0] if opened else None,
        "since": since_text(extras.history.get((opened[0].rule, opened[0].subject), ())) if opened else "",
        "capabilities": list(extras.capabilities),
        "not_asked": [
            name
            for name in dict.fromkeys(cell.subject for cell in verdict.cells)
            if name not in extras.capabilities
        ],
        "asked": list(zip(*extras.capabilities.values(), strict=True)),
        "past_of": lambda rule, subject: extras.history.get((rule, subject), ()),
        "changes": None
        if extras.baseline is None
        else changes_between(
            extras.baseline, verdict.environment.packages | {"stepaudit": verdict.environment.stepaudit}
        ),
        "baseline_name": extras.baseline_name,
        "really": really,
        "basis_of": basis_of,
        "static_cells": by_severity(verdict.cells)[:_STATIC_ROWS],
        "steps_svg": _svg(steps),
        "figure_names": [
            name for name in ("steps" if steps else "", "matrix" if verdict.cells else "") if name
        ]
        + [drawing.name for drawing in (*drawings.values(), *replays)],
        "replays": [(_svg(drawing), drawing.title) for drawing in replays],
        "took": duration(verdict.seconds),
        "style": Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        "script": Markup(script),  # noqa: S704 - our own files
        "script_digest": digest,
        "island": Markup(island_json(verdict, details)),  # noqa: S704 - has no markup character, see there
        "statuses": STATUSES,
    }
    return _environment().get_template("report.html.j2").render(context)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "line": one_line,
        "command": command_line,
        "permalink": lambda cell_id: "#cell=" + quote(printable(cell_id)),
        "query": _query,
        "quoted": quoted,
        "slug": _slug,
        "ticks": _ticks,
        "web_address": _web_address,
        "standing": standing_status,
        "cell_status": cell_status,
        "thousands": lambda number: f"{number:,}",
    }
    return environment


def _shown(value: Any) -> Any:
    """Return what an expression of a template shows: text without control characters, none without an end."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return shortened(printable(value[:200_000]), 8000, full=len(value))
    return value


def _svg(drawing: Drawing | None) -> Markup | None:
    return Markup(drawing.svg) if drawing is not None else None  # noqa: S704 - matplotlib escapes every text


def _scripts() -> str:
    parts = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    return '"use strict";\n(() => {\n' + "".join(parts) + "})();\n"


def _query(text: str) -> str:
    """Return the fragment that opens the page with this text in the search box."""
    return "#q=" + quote(printable(text), safe=":>!*,")


def _ticks(text: str) -> Markup:
    """Return text in which what stands between backticks is code; all of it is escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    code = Markup("<code>{}</code>")
    return Markup().join(code.format(part) if at % 2 else part for at, part in enumerate(parts))


def _slug(text: str) -> str:
    """Return a name as part of an id; different names may give the same only where they are hostile."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text[:60]).strip("-") or "unnamed"


def _web_address(text: str) -> str | None:
    """Return the text if it is a web address that a reader may follow, else None."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    plain = len(text) < 500 and text.isascii() and text.isprintable() and " " not in text
    return text if plain and parts.scheme in {"http", "https"} and parts.netloc else None


def _twins(clusters: Sequence[Cluster]) -> dict[tuple[str, str, str, str], Cluster]:
    """Return, for each cluster whose smallest case an earlier one shows already, that earlier one."""
    first: dict[str, Cluster] = {}
    twins = {}
    for cluster in clusters:
        if cluster.smallest in first:
            twins[cluster_key(cluster)] = first[cluster.smallest]
        first.setdefault(cluster.smallest, cluster)
    return twins


def _rule_examples(clusters: Sequence[Cluster]) -> dict[str, Cluster]:
    found: dict[str, Cluster] = {}
    for cluster in clusters:
        found.setdefault(cluster.rule, cluster)
    return found


def _held_examples(verdict: Verdict) -> dict[str, tuple[str, str]]:
    """Return rule to an example with numbers, and the label of their scenario: the first judged one."""
    found: dict[str, tuple[str, str]] = {}
    for cell in [cell for cell in verdict.cells if cell.account is not None][:200]:
        if cell.contract in CONTRACTS:
            try:
                scenario = scenario_from_mapping(cell.scenario)
            except ScenarioError:
                continue
            for rule, text in rule_examples(scenario, CONTRACTS[cell.contract]).items():
                if rule in cell.rules_checked:
                    found.setdefault(rule, (text, cell.label))
    return found


def _account_rows(cell: CellVerdict | None) -> list[AccountRow]:
    """Return the figures of a cell that at least two witnesses give."""
    if cell is None or cell.account is None:
        return []
    books: list[Figures | None] = [getattr(cell.account, account) for account in _ACCOUNTS]
    rows = []
    for field, name in FIGURES.items():
        values = [getattr(figures, field) if figures else None for figures in books]
        given = [value for value in values if value is not None]
        if len(given) > 1 and any(given):
            shown = tuple(DASH if value is None else f"{value:,.10g}" for value in values)
            rows.append(AccountRow(name=name, values=shown, parts=len(set(given)) > 1))
    return rows
