"""What a timeline says in words: its columns, its cells, what changed when, and the answer in a few sentences."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from ..harness.judging.verdict import CellOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..harness.judging.timeline import Timeline, TimelineCell, TimelineRow

__all__ = ["MARKS", "Change", "answer", "cell_text", "changes", "group_text", "groups", "row_name"]

MARKS = {
    CellOutcome.CONFORMS: "✓",
    CellOutcome.DEVIATES: "✗",
    CellOutcome.ERROR: "!",
    CellOutcome.UNSUPPORTED: "–",
    CellOutcome.FLAKY: "?",
}

_PROTOCOLS = {
    "honoured": "Models that divide by num_items_in_batch",
    "none": "Models without loss keywords",
    "ignored": "Models that take keywords and ignore the divisor",
    "overridden": "Trainers with a compute_loss of their own",
}
_SHAPE = ("rows", "per_device_batch_size", "grad_accum")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Two neighbouring releases that train differently."""

    before: str
    after: str
    scenarios: str
    what: str


def row_name(row: TimelineRow, history: Timeline) -> str:
    """Return the release, with what it ran with where that is not the same in all rows."""
    others = _companions(row, history)
    return f"{row.release} ({others})" if others else row.release


def _companions(row: TimelineRow, history: Timeline) -> str:
    """Return what a row ran with besides its release and what all rows share."""
    return ", ".join(
        f"{name} {version}"
        for name, version in row.packages.items()
        if name != history.package and name not in history.packages
    )


def groups(history: Timeline) -> list[tuple[str, dict[str, str]]]:
    """Return title and columns (label to short name) of each table: loss protocols, then what else is asked for."""
    found: dict[str, dict[str, str]] = {}
    for cell in {cell.label: cell for row in history.rows for cell in row.cells}.values():
        scenario = cell.scenario
        shape = "rows {} B {} A {}".format(*(scenario[name] for name in _SHAPE))
        if (
            scenario["epochs"] == 2.0
            and scenario["first_label"] == "masked"
            and scenario["max_steps"] is None
        ):
            found.setdefault(_PROTOCOLS[scenario["loss_protocol"]], {})[cell.label] = shape
        else:
            found.setdefault("Other requests", {})[cell.label] = _request(scenario, shape)
    order = [*_PROTOCOLS.values(), "Other requests"]
    return [(title, found[title]) for title in order if title in found]


def _request(scenario: dict[str, object], shape: str) -> str:
    asked = []
    if scenario["max_steps"] is not None:
        asked.append(f"max_steps {scenario['max_steps']}")
    else:
        asked.append(f"epochs {scenario['epochs']:g}")
    if scenario["dataset"] == "iterable":
        asked.append("no length")
    if scenario["resume_at"] is not None:
        asked.append(f"resumed at {scenario['resume_at']}")
    if scenario["first_label"] == "counted":
        asked.append("label at position 0")
    return f"{shape} {', '.join(asked)}"


def cell_text(cell: TimelineCell) -> str:
    """Return W, rows, ratio and the broken rules."""
    if cell.rows is None:
        return cell.reason.replace("|", "/")[:120]
    parts = [f"W {_windows(cell.windows)}", f"{cell.rows}/{cell.rows_due} rows"]
    if (ratio := _ratio([cell])) is not None:
        parts.append(ratio)
    if cell.rules:
        parts.append(" ".join(cell.rules))
    return ", ".join(parts)


def group_text(cells: Sequence[TimelineCell]) -> str:
    """Return how many of a group of scenarios are right, and the weights of the others."""
    counts = {outcome: sum(cell.outcome is outcome for cell in cells) for outcome in MARKS}
    shown = [f"{MARKS[outcome]} {count}" for outcome, count in counts.items() if count]
    ratio = _ratio([cell for cell in cells if "weight" in cell.rules])
    return " ".join([*shown, *([ratio] if ratio else [])])


def _windows(windows: Sequence[int]) -> str:
    runs = [(size, len(list(same))) for size, same in groupby(windows)]
    return " ".join(str(size) if times == 1 else f"{size}×{times}" for size, times in runs) or "none"


def _ratio(cells: Iterable[TimelineCell]) -> str | None:
    least = [cell.ratio_least for cell in cells if cell.ratio_least is not None]
    most = [cell.ratio_most for cell in cells if cell.ratio_most is not None]
    if not least:
        return None
    low, high = f"{min(least):.2f}", f"{max(most):.2f}"
    return f"×{low}" if low == high else f"×{low}–{high}"


def _sizes(cell: TimelineCell) -> list[str]:
    return ["~"] if "~" in cell.scales else cell.scales


def _scales(cells: Iterable[TimelineCell]) -> str:
    """Return the sizes of the gradients over those that are due, the smallest first; ~ for those that are no number."""

    def size(text: str) -> float:
        above, _, below = text.partition("/")
        return float("inf") if text == "~" else int(above) / int(below or 1)

    found = {scale for cell in cells for scale in cell.scales}
    return " ".join(text if text == "~" else f"×{text}" for text in sorted(found, key=size)) or "none"


def changes(history: Timeline) -> list[Change]:
    """Return every step from one release to the next that changes how any scenario is trained."""
    rows = [row for row in history.rows if row.pair == "of its time"]
    found = []
    for before, after in pairwise(rows):
        old = {cell.label: cell for cell in before.cells}
        moved = [
            (old[cell.label], cell)
            for cell in after.cells
            if cell.label in old and cell.signature != old[cell.label].signature
        ]
        if moved:
            found.append(
                Change(
                    before=before.release,
                    after=after.release,
                    scenarios=f"{len(moved)} of {len(after.cells)}",
                    what="; ".join(_moves(moved)),
                )
            )
    return found


def _moves(moved: Sequence[tuple[TimelineCell, TimelineCell]]) -> list[str]:
    parts = []
    judged = [(old, new) for old, new in moved if old.rows is not None and new.rows is not None]
    if count := sum(len(old.windows) != len(new.windows) for old, new in judged):
        parts.append(f"number of optimizer steps in {count}")
    if count := sum(
        old.windows != new.windows and len(old.windows) == len(new.windows) for old, new in judged
    ):
        parts.append(f"windows in {count}")
    scaled = [(old, new) for old, new in judged if _sizes(old) != _sizes(new)]
    if scaled:
        was, now = _scales([old for old, _ in scaled]), _scales([new for _, new in scaled])
        parts.append(f"size of the gradient in {len(scaled)} ({was} → {now})")
    gone = sorted(
        {rule for old, new in judged for rule in old.rules} - {r for _, new in judged for r in new.rules}
    )
    come = sorted(
        {rule for _, new in judged for rule in new.rules} - {r for old, _ in judged for r in old.rules}
    )
    parts += [f"no longer breaks {', '.join(f'`{rule}`' for rule in gone)}"] if gone else []
    parts += [f"now breaks {', '.join(f'`{rule}`' for rule in come)}"] if come else []
    return parts or ["verdict"]


def answer(history: Timeline) -> list[str]:
    """Return the answer in a few sentences; every number is one of the table."""
    rows = [row for row in history.rows if row.pair == "of its time"]
    if not rows:
        return []
    columns = max(len(row.cells) for row in rows)
    moves = changes(history)
    opening = (
        f"Of {len(rows)} releases of {history.package} run here ({rows[0].release} to {rows[-1].release}), "
        f"{len(moves)} of the {len(rows) - 1} steps from one to the next change what is trained in at least one of "
        f"{columns} scenarios: upgrading does influence a run that accumulates gradients."
    )
    sentences = [opening]
    for title, labels in groups(history):
        spans = _spans(rows, list(labels))
        sentences.append(f"{title}: " + "; ".join(_span_text(*span, rows) for span in spans) + ".")
    others = [row for row in history.rows if row.pair == "asked for"]
    if others:
        sentences.append(_pairs(rows, others, history))
    return sentences


def _spans(
    rows: Sequence[TimelineRow], labels: Sequence[str]
) -> list[tuple[list[TimelineRow], list[TimelineCell]]]:
    """Return runs of neighbouring releases that break the same rules in the same scenarios, with their cells."""

    def kind(row: TimelineRow) -> tuple[object, ...]:
        own = {cell.label: cell for cell in row.cells}
        return tuple((own[label].outcome, tuple(own[label].rules)) for label in labels if label in own)

    found = []
    for _, members in groupby(rows, key=kind):
        span = list(members)
        found.append((span, [cell for row in span for cell in row.cells if cell.label in labels]))
    return found


def _span_text(span: list[TimelineRow], cells: list[TimelineCell], rows: Sequence[TimelineRow]) -> str:
    names = span[0].release if len(span) == 1 else f"{span[0].release} to {span[-1].release}"
    if span[-1] is rows[-1] and len(span) > 1:
        names = f"since {span[0].release}"
    scenarios = len(cells) // len(span) if span else 0
    bad = [cell for cell in cells if cell.outcome is CellOutcome.DEVIATES]
    unknown = [cell for cell in cells if cell.rows is None]
    if not bad:
        return f"{names} not judged" if len(unknown) == len(cells) else f"{names} right in all {scenarios}"
    facts = []
    if (ratio := _ratio([cell for cell in bad if "weight" in cell.rules])) is not None:
        facts.append(f"weights {ratio}")
    short = [cell for cell in bad if cell.updates_due is not None and len(cell.windows) != cell.updates_due]
    if short:
        worst = max(short, key=lambda cell: abs(len(cell.windows) - (cell.updates_due or 0)))
        facts.append(f"{len(worst.windows)} optimizer steps instead of {worst.updates_due} at worst")
    fewer = [cell for cell in bad if (cell.rows or 0) < (cell.rows_due or 0)]
    if fewer:
        worst = max(fewer, key=lambda cell: (cell.rows_due or 0) - (cell.rows or 0))
        facts.append(f"{worst.rows} of {worst.rows_due} rows trained on at worst")
    if any("window" in cell.rules for cell in bad):
        facts.append("windows too long or over an epoch's end")
    if any("resume" in cell.rules for cell in bad):
        facts.append("resumed with other rows")
    if not facts:
        facts = [f"rule {rule}" for rule in sorted({rule for cell in bad for rule in cell.rules})]
    return f"{names} wrong in {len(bad) // len(span)} of {scenarios} ({', '.join(facts)})"


def _pairs(rows: Sequence[TimelineRow], others: Sequence[TimelineRow], history: Timeline) -> str:
    """Say what another companion than that of its time changes."""
    of_time = {row.release: row for row in rows}
    failing, different = [], []
    for row in others:
        old = {cell.label: cell for cell in of_time[row.release].cells}
        if all(cell.outcome is CellOutcome.ERROR for cell in row.cells):
            failing.append(row.release)
        elif any(cell.signature != old[cell.label].signature for cell in row.cells if cell.label in old):
            different.append(row.release)
    asked_for = _companions(others[-1], history) or "the companion asked for"
    text = f"With {asked_for} instead of that of its time"
    parts = []
    if failing:
        parts.append(f"{len(failing)} releases do not run ({', '.join(failing)})")
    parts.append(
        f"{len(different)} train differently ({', '.join(different)})"
        if different
        else f"the other {len(others) - len(failing)} train exactly as they did"
    )
    return f"{text}, {' and '.join(parts)}."
