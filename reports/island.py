"""The cells as one compact JSON block for the page's own script: a column a field, every text once."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from ..scenarios import Scenario
from .details import CHOSEN
from .overview import by_severity
from .status import STATUSES, cell_status
from .text import command_line, one_line, printable, shortened

if TYPE_CHECKING:
    from ..harness.judging.verdict import CellVerdict, Deviation, Figures, Verdict
    from .details import Details

__all__ = ["FIGURES", "island_json"]

FIGURES = {
    "optimizer_steps": "optimizer steps",
    "micro_batches": "micro-batches",
    "scheduler_steps": "scheduler steps",
    "skipped_steps": "skipped steps",
    "epochs": "epochs",
    "label_tokens": "label tokens",
    "planned_steps": "planned steps",
}
_FIGURE_OF = {"target": 0, "claim": 0, "plan": 6, "skip": 3, "epoch": 4}
"""rule to the position of its figure"""
_DEFAULTS = Scenario().to_mapping()
_HASH = re.compile("(?:[0-9a-f]{2})+")
_ACCOUNTS = ("expected", "observed", "claimed", "reference")
_EVIDENCE_CHARACTERS = 1_500_000
"""for tracebacks and long evidence, so that 20,000 failing cells still make a page that opens"""
_LEFT_OUT = "left out to keep this page small; verdict.json has it"


def island_json(verdict: Verdict, details: Details | None = None) -> str:
    """Return JSON that is safe inside a `<script>` element: no `<`, `>`, `&` or line separator is in it.

    Cells come worst first. Texts are indices into `strings`; accounts are indices into `figures`; the cell's
    own id inside a reproduce line is written `{id}`, so that all of them are one text. Evidence beyond a
    budget says that it was left out. `rules` says which account figure a rule is about.

    Args:
        verdict: the run.
        details: lanes, books and curves of some of its cells.
    """
    table = _Table()
    cells = by_severity(verdict.cells)
    fields = list(dict.fromkeys(field for cell in cells for field in cell.scenario))
    found = {
        "statuses": {key: {"word": status.word, "shape": status.shape} for key, status in STATUSES.items()},
        "figureNames": list(FIGURES.values()),
        "fields": [one_line(field, 60) for field in fields],
        "defaults": [_plain(_DEFAULTS.get(field)) for field in fields],
        "rules": {
            one_line(rule.rule): [
                one_line(rule.statement),
                one_line(rule.formula, 400),
                _FIGURE_OF.get(rule.rule, -1),
            ]
            for rule in verdict.rules
        },
        "details": details.cells if details is not None else {},
        "chosen": _chosen_text(details),
        "scenario": [table.column([cell.scenario.get(field) for cell in cells]) for field in fields],
        "id": _ids([printable(cell.id) for cell in cells]),
        "subject": [table.text(cell.subject) for cell in cells],
        "contract": [table.text(cell.contract) for cell in cells],
        "label": [table.text(cell.label) for cell in cells],
        "verdict": table.column([cell.verdict.value for cell in cells]),
        "status": table.column([cell_status(cell).key for cell in cells]),
        "seconds": [round(cell.seconds, 3) if 0 <= cell.seconds < 10**9 else None for cell in cells],
        "reproduce": [table.command(cell.reproduce, cell.id) for cell in cells],
        "reason": {at: table.evidence(cell.reason) for at, cell in enumerate(cells) if cell.reason},
        "account": {
            name: [table.figures_of(getattr(cell.account, name)) if cell.account else -1 for cell in cells]
            for name in _ACCOUNTS
        },
        "checked": [table.indices([table.text(rule) for rule in cell.rules_checked]) for cell in cells],
        "unsupported": [
            table.indices([part for item in cell.rules_unsupported.items() for part in map(table.text, item)])
            for cell in cells
        ],
        "deviations": {
            at: [_deviation(table, cell, item) for item in cell.deviations]
            for at, cell in enumerate(cells)
            if cell.deviations
        },
        "errors": {
            at: [
                table.text(cell.error.kind),
                table.evidence(cell.error.message),
                table.evidence(cell.error.traceback),
            ]
            for at, cell in enumerate(cells)
            if cell.error is not None
        },
    }
    found |= {"strings": table.strings, "figures": table.figures, "lists": table.lists}
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


class _Table:
    """Interns texts, accounts and lists."""

    def __init__(self) -> None:
        self.strings: list[str] = []
        self.figures: list[list[Any]] = []
        self.lists: list[list[int]] = []
        self._strings: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._figures: dict[tuple[Any, ...], int] = {}
        self._lists: dict[tuple[int, ...], int] = {}
        self._room = _EVIDENCE_CHARACTERS

    def text(self, value: str) -> int:
        if value not in self._seen:  # most cells share their texts; cleaning each once is what makes it quick
            self._seen[value] = self._string(one_line(value, 300))
        return self._seen[value]

    def evidence(self, value: str) -> int:
        shown = shortened(printable(value[:50_000]).strip(), 4000, full=len(value))
        if shown not in self._strings:
            self._room -= len(shown)
            if self._room < 0:
                shown = _LEFT_OUT
        return self._string(shown)

    def command(self, value: str, cell_id: str) -> int:
        return self._string(command_line(value.replace(cell_id, "{id}") if cell_id else value))

    def figures_of(self, figures: Figures | None) -> int:
        if figures is None:
            return -1
        values = tuple(_number(getattr(figures, name)) for name in FIGURES)
        if values not in self._figures:
            self._figures[values] = len(self.figures)
            self.figures.append(list(values))
        return self._figures[values]

    def indices(self, items: list[int]) -> int:
        key = tuple(items)
        if key not in self._lists:
            self._lists[key] = len(self.lists)
            self.lists.append(items)
        return self._lists[key]

    def column(self, values: list[Any]) -> dict[str, Any]:
        """Return the distinct values and, unless all cells share one, the index of each cell's."""
        distinct: dict[tuple[type, Any], int] = {}
        index = [distinct.setdefault((type(item), item), len(distinct)) for item in map(_plain, values)]
        return {"values": [item for _, item in distinct], "index": index if len(distinct) > 1 else None}

    def _string(self, value: str) -> int:
        if value not in self._strings:
            self._strings[value] = len(self.strings)
            self.strings.append(value)
        return self._strings[value]


def _ids(ids: list[str]) -> dict[str, Any] | list[str]:
    """Return ids that are hashes as one text in base64, a third shorter than their digits; others as they are."""
    size = len(ids[0]) if ids else 0
    if not size or any(len(one) != size or not _HASH.fullmatch(one) for one in ids):
        return ids
    return {"bytes": size // 2, "base64": b64encode(bytes.fromhex("".join(ids))).decode()}


def _chosen_text(details: Details | None) -> str:
    """Say which cells have lanes, books and curves."""
    if details is None or not details.cells:
        return "This page was made without ledgers: no cell has lanes, weight books or curves."
    return (
        f"Lanes, weight books and curves are in this page for {len(details.cells):,} cells, of {details.deviating:,} "
        f"that deviate: {CHOSEN}. All ledgers are in records.sqlite."
    )


def _deviation(table: _Table, cell: CellVerdict, item: Deviation) -> list[Any]:
    at = item.first_divergence
    return [
        table.text(item.rule),
        item.standing.value,
        table.text(item.known_id or ""),
        table.evidence(item.expected),
        table.evidence(item.got),
        table.evidence(item.formula),
        at.event,
        at.update,
        table.evidence(at.text),
        table.command(item.reproduce, cell.id),
    ]


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int)):
        return value
    return _number(value) if isinstance(value, float) else one_line(str(value), 300)


def _number(value: float | None) -> Any:
    """Return a number as JSON can hold it: what is not finite as a word, an integer beyond 2**53 as text."""
    if value is None or abs(value) <= 2**53:
        return value
    return str(value)
