"""Runs beside their replays: how far each numeric cell lies from the float64 replay, in units of its own envelope."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..harness.judging.verdict import CellOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..harness.judging.verdict import CellVerdict, Verdict
    from ..harness.ledger import CellRecord, Replay

__all__ = ["MOST_OVERLAYS", "MOST_REPLAYS", "ReplayedCell", "overlays", "replayed_cells"]

MOST_REPLAYS = 500
"""cells whose records are opened for the overview"""
MOST_OVERLAYS = 4
"""cells whose curves are drawn; those that come nearest to their limit"""
REFERENCE = "hf"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayedCell:
    """One cell with its replay.

    Attributes:
        cell: its verdict.
        replay: its curves, those of its replays, and the envelope.
        reference: the replay of the reference's run of the same scenario, where there is one.
        loss, grad_norm: largest distance from the float64 replay, in envelopes; NaN where a value is missing.
    """

    cell: CellVerdict
    replay: Replay
    reference: Replay | None
    loss: float
    grad_norm: float

    @property
    def nearest(self) -> float:
        """The larger of the two; infinite where a value is missing."""
        worst = max(self.loss, self.grad_norm)
        return math.inf if math.isnan(self.loss) or math.isnan(self.grad_norm) else worst


def replayed_cells(verdict: Verdict, lookup: Callable[[str], CellRecord | None]) -> list[ReplayedCell]:
    """Return the judged cells that were replayed, in the verdict's order, at most MOST_REPLAYS."""
    judged = [
        cell
        for cell in verdict.cells
        if cell.scenario.get("tier") in {"numeric", "gpu"}
        and cell.verdict in {CellOutcome.CONFORMS, CellOutcome.DEVIATES, CellOutcome.FLAKY}
    ][:MOST_REPLAYS]
    found = []
    for cell in judged:
        record = lookup(cell.id)
        if record is not None and record.replay is not None and record.replay.updates:
            found.append((cell, record.replay))
    references = {cell.label: replay for cell, replay in found if cell.subject == REFERENCE}
    return [
        ReplayedCell(
            cell=cell,
            replay=replay,
            reference=references.get(cell.label) if cell.subject != REFERENCE else None,
            loss=_most(replay.subject.losses, replay.exact.losses, replay.envelope.losses),
            grad_norm=_most(replay.subject.grad_norms, replay.exact.grad_norms, replay.envelope.grad_norms),
        )
        for cell, replay in found
    ]


def overlays(cells: list[ReplayedCell]) -> list[ReplayedCell]:
    """Return the cells whose curves are worth a look: the nearest to its limit of each subject."""
    nearest: dict[str, ReplayedCell] = {}
    for item in sorted(cells, key=lambda item: (-item.nearest, item.cell.label)):
        nearest.setdefault(item.cell.subject, item)
    return list(nearest.values())[:MOST_OVERLAYS]


def in_envelopes(
    got: tuple[float | None, ...], want: tuple[float | None, ...], width: tuple[float | None, ...]
) -> list[float]:
    """Return (got - want) / width at every update, NaN where one of them is missing."""
    return [
        math.nan if one is None or two is None or not half else (one - two) / half
        for one, two, half in zip(got, want, width, strict=False)
    ]


def _most(
    got: tuple[float | None, ...], want: tuple[float | None, ...], width: tuple[float | None, ...]
) -> float:
    distances = [abs(value) for value in in_envelopes(got, want, width)]
    return math.nan if any(math.isnan(value) for value in distances) else max(distances, default=math.nan)
