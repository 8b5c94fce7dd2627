"""Why a trainer is wrong: formula, divisor, interaction, smallest scenario, first divergence. Runs nothing itself.

What needs further cells is handed a function that runs them.
"""

from .clusters import FaultCluster, Judgement, clusters_of
from .divergence import Alignment, SideBySide, SideLine, side_by_side
from .divisors import Divisor, DivisorCase, divisor_of
from .explanation import Explained, ExplainedCluster, ExplainedFigure, explain_subject
from .figures import FIGURES, Cell, Figure, Sample, cell_of, figure_named, sample_of
from .formulas import FormulaOf, HeldOut, Rounds, RunCells, Settled, settle
from .hypotheses import Held, hypothesis_held
from .inference import Candidate, Grammar, Inference, infer
from .interaction import Clause, Interaction, interaction_of
from .quantities import Quantities, quantities_of
from .shrinking import Shrunk, shrink, simplifications
from .space import Space, telling_apart
from .text import explained_lines, numbers_of

__all__ = [
    "FIGURES",
    "Alignment",
    "Candidate",
    "Cell",
    "Clause",
    "Divisor",
    "DivisorCase",
    "Explained",
    "ExplainedCluster",
    "ExplainedFigure",
    "FaultCluster",
    "Figure",
    "FormulaOf",
    "Grammar",
    "Held",
    "HeldOut",
    "Inference",
    "Interaction",
    "Judgement",
    "Quantities",
    "Rounds",
    "RunCells",
    "Sample",
    "Settled",
    "Shrunk",
    "SideBySide",
    "SideLine",
    "Space",
    "cell_of",
    "clusters_of",
    "divisor_of",
    "explain_subject",
    "explained_lines",
    "figure_named",
    "hypothesis_held",
    "infer",
    "interaction_of",
    "numbers_of",
    "quantities_of",
    "sample_of",
    "settle",
    "shrink",
    "side_by_side",
    "simplifications",
    "telling_apart",
]
