"""The capability table as Markdown: what each subject is audited for, what it declines and why, what is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...scenarios.known import KnownDeviation, load_known
from ..contract import RULES
from ..subjects import resolve, subject_names
from ..subjects.capabilities import FEATURES, Capability, Standing, capabilities_of

__all__ = ["CapabilityRow", "capability_markdown", "capability_matrix", "capability_rows"]

_SYMBOLS = {Standing.AUDITED: "✓", Standing.UNSUPPORTED: "–", Standing.KNOWN: "△"}
_RELEASED = ("unsloth-zoo@2026.10.9",)
"""one release of each subject that is named with one; the seeded loops are no trainers"""


@dataclass(frozen=True, kw_only=True, slots=True)
class CapabilityRow:
    """What holds for one subject, and for those that differ from it in nothing that the table shows."""

    names: tuple[str, ...]
    contract: str
    cells: tuple[Capability, ...]


def capability_rows(known: Sequence[KnownDeviation] | None = None) -> tuple[CapabilityRow, ...]:
    """Return the table of the subjects that come with stepaudit, in their order, equal rows together.

    Args:
        known: the known deviations; None reads the built-in file.
    """
    entries = load_known(rules=RULES) if known is None else known
    names = [name for name in subject_names() if not name.endswith("@VERSION")]
    grouped: dict[tuple[object, ...], list[str]] = {}
    rows: dict[tuple[object, ...], CapabilityRow] = {}
    for name in (*names, *_RELEASED):
        subject = resolve(name)
        cells = capabilities_of(subject, entries)
        same = (subject.contract, *((cell.standing, cell.reason, cell.known) for cell in cells))
        grouped.setdefault(same, []).append(name)
        rows[same] = CapabilityRow(names=tuple(grouped[same]), contract=subject.contract, cells=cells)
    return tuple(rows.values())


def capability_markdown(rows: Sequence[CapabilityRow]) -> str:
    """Return the matrix and, below it, every reason and every known deviation with its report upstream."""
    lines = [capability_matrix(rows)]
    for row in rows:
        if notes := _notes(row):
            names = ", ".join(f"`{name}`" for name in row.names)
            lines.append(f"* {names} (contract `{row.contract}`): {'; '.join(notes)}.")
    return "\n".join(lines) + "\n"


def capability_matrix(rows: Sequence[CapabilityRow]) -> str:
    """Return the matrix alone, a feature a line, a column for the subjects that differ in nothing, and its legend."""
    whole = [row for row in rows if {cell.standing for cell in row.cells} != {Standing.UNSUPPORTED}]
    heads = [" ".join(f"`{name}`" for name in row.names) for row in whole]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---|' * len(whole)}"]
    for at, feature in enumerate(FEATURES):
        lines.append(f"| {feature.name} | {' | '.join(_SYMBOLS[row.cells[at].standing] for row in whole)} |")
    lines += ["", "✓ audited · – declined · △ audited, with deviations that are known", ""]
    return "\n".join(lines)


def _notes(row: CapabilityRow) -> list[str]:
    if all(cell.standing is Standing.UNSUPPORTED for cell in row.cells):
        return [f"declined altogether: {row.cells[0].reason}"]
    reasons: dict[str, list[str]] = {}
    for cell in row.cells:
        if cell.standing is Standing.UNSUPPORTED:
            reasons.setdefault(cell.reason, []).append(cell.feature)
    notes = []
    for reason, features in reasons.items():
        # A reason names the field that it is about, or says what is missing.
        notes.append(f"– {reason}" if ": " in reason else f"– {', '.join(features)}: {reason}")
    for cell in row.cells:
        if cell.standing is Standing.KNOWN:
            by_report: dict[str, list[str]] = {}
            for entry, upstream in cell.known:
                by_report.setdefault(upstream, []).append(f"`{entry}`")
            told = "; ".join(f"{', '.join(ids)} ({upstream})" for upstream, ids in by_report.items())
            notes.append(f"△ {cell.feature}: {told}")
    return notes
