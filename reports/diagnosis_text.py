"""The diagnosis of a cluster in two lines: what it really computes, and when it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .text import count

if TYPE_CHECKING:
    from ..harness.judging.verdict import Cluster, InferredFormula

__all__ = ["basis_of", "diagnosis_lines", "really"]


def diagnosis_lines(cluster: Cluster) -> list[tuple[str, str]]:
    """Return `really` and `when` with their texts, as far as the diagnosis has them."""
    found = cluster.diagnosis
    if found is None:
        return []
    lines = (
        [] if found.formula is None else [("really", f"{really(found.formula)}, {basis_of(found.formula)}")]
    )
    return lines + ([("when", found.interaction)] if found.interaction else [])


def really(formula: InferredFormula) -> str:
    """Return `optimizer steps = E·T = 3·20 = 60`."""
    numbers = f" = {formula.numbers}" if formula.numbers else ""
    return f"{formula.figure} = {formula.formula}{numbers}"


def basis_of(formula: InferredFormula) -> str:
    """Return on what a formula rests, e.g. `exact on all 31 cells`; for weights, rows of updates."""
    noun = "row" if formula.figure.startswith("weight") else "cell"
    if formula.right == formula.of:
        return f"exact on all {count(formula.of, noun)}"
    return f"right on {formula.right:,} of {count(formula.of, noun)}"
