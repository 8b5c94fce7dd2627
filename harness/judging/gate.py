"""The project's gate: what it demands of a run besides conforming, and what of that is missed."""

from __future__ import annotations

from collections.abc import Sequence

from ...scenarios.gate import Gate
from .verdict import CellOutcome, CellVerdict, GateTerms, MissedFloor, Standing

__all__ = ["gate_terms", "gated_cells"]


def gated_cells(cells: Sequence[CellVerdict], gate: Gate) -> list[CellVerdict]:
    """Return the cells that can fail the gate: those of subjects that are not informational."""
    return [cell for cell in cells if not gate.is_informational(cell.subject)]


def gate_terms(gate: Gate, cells: Sequence[CellVerdict]) -> GateTerms | None:
    """Hold a run against a project's gate; None where the project has none.

    Informational subjects are not counted: they can neither meet a floor nor miss one.

    Args:
        gate: what is demanded.
        cells: all cells of the run.
    """
    if gate.path is None:
        return None
    cells = gated_cells(cells, gate)
    judged = [cell for cell in cells if cell.account is not None]
    rules = {rule for cell in judged for rule in cell.rules_checked}
    known = [cell for cell in judged if any(item.standing is Standing.KNOWN for item in cell.deviations)]
    declined = [cell for cell in cells if cell.verdict is CellOutcome.UNSUPPORTED]
    missed = []
    for term, limit, got, text in (
        ("min_cells", gate.min_cells, len(judged), "judged {got}, at least {limit} wanted"),
        ("min_rules", gate.min_rules, len(rules), "rules asked {got}, at least {limit} wanted"),
        (
            "max_known",
            gate.max_known,
            len(known),
            "cells with known deviations {got}, at most {limit} allowed",
        ),
        (
            "max_unsupported",
            gate.max_unsupported,
            len(declined),
            "unsupported {got}, at most {limit} allowed",
        ),
    ):
        if limit is not None and (got < limit if term.startswith("min") else got > limit):
            said = f"{term} = {limit}: {text.format(got=got, limit=limit)}"
            missed.append(MissedFloor(term=term, limit=limit, got=got, text=said))
    return GateTerms(
        source=str(gate.path),
        min_cells=gate.min_cells,
        min_rules=gate.min_rules,
        max_known=gate.max_known,
        max_unsupported=gate.max_unsupported,
        informational=list(gate.informational),
        missed=missed,
    )
