"""The formulas of a contract as text, in symbols and with a scenario's numbers filled in."""

from __future__ import annotations

from ...scenarios import Scenario
from .contracts import Contract, Horizon, Reduction, Windows
from .expectation import Terms

__all__ = [
    "epochs_formula",
    "micro_batches_formula",
    "target_formula",
    "updates_formula",
    "weight_formula",
]


def micro_batches_formula(scenario: Scenario, terms: Terms) -> str:
    """M with its numbers, e.g. `M = ceil(rows / (B·R)) = ceil(5590 / (4·1)) = 1398`."""
    word = "floor" if scenario.drop_last else "ceil"
    return f"M = {word}(rows / (B·R)) = {word}({terms.rows} / ({terms.B}·{terms.R})) = {terms.M}"


def updates_formula(terms: Terms, contract: Contract) -> str:
    """U with its numbers."""
    M, A = terms.M, terms.A
    if contract.floor_updates:
        return f"U = max(M // A, 1) = max({M} // {A}, 1) = {terms.U}"
    return f"U = max(M // A + (M % A > 0), 1) = max({M // A} + {int(M % A > 0)}, 1) = {terms.U}"


def target_formula(scenario: Scenario, terms: Terms, contract: Contract) -> str:
    """T with its numbers, and what it rests on."""
    if terms.M == 0:
        return f"{micro_batches_formula(scenario, terms)}: nothing to train, T = 0"
    if contract.horizon is Horizon.WHICHEVER_FIRST and scenario.max_steps:
        return (
            f"T = min(max_steps, ceil(epochs·U)) = min({scenario.max_steps}, ceil({scenario.epochs:g}·{terms.U})) = "
            f"{terms.T} (whichever comes first); {updates_formula(terms, contract)}"
        )
    if scenario.max_steps:
        total = f"T = max_steps = {scenario.max_steps} (a positive max_steps overrides epochs)"
        if contract.windows is Windows.ACROSS_EPOCHS:
            total += f", at most what {terms.E} epochs of M = {terms.M} micro-batches give"
        return total
    zero = " (max_steps = 0 is not positive)" if scenario.max_steps == 0 else ""
    total = f"T = ceil(epochs·U) = ceil({scenario.epochs:g}·{terms.U}) = {terms.T}{zero}"
    return f"{total}; {updates_formula(terms, contract)}; {micro_batches_formula(scenario, terms)}"


def epochs_formula(scenario: Scenario, terms: Terms) -> str:
    """E with its numbers."""
    if terms.M == 0:
        return "E = 0: nothing to train"
    if scenario.max_steps:
        return f"E = ceil(T / U) = ceil({terms.T} / {terms.U}) = {terms.E}"
    return f"E = ceil(epochs) = ceil({scenario.epochs:g}) = {terms.E}"


def weight_formula(scenario: Scenario, contract: Contract) -> str:
    """What a label token weighs in its update, by the contract's reduction for the scenario's loss protocol."""
    ranks = "·R" if scenario.ranks > 1 else ""
    n = "n = label tokens of the micro-batch"
    match contract.reduction[scenario.loss_protocol]:
        case Reduction.TOKEN_MEAN:
            over = f", over all {scenario.ranks} ranks" if ranks else ""
            return f"1 / N (N = label tokens of the window{over})"
        case Reduction.TOKEN_MEAN_OF_RANKS:
            return "1 / (N_r·R) (N_r = label tokens of the window on its own rank)" if ranks else "1 / N"
        case Reduction.MEAN_OF_MEANS:
            return f"1 / (n·W{ranks}) ({n}, W = micro-batches of the window)"
        case Reduction.MEAN_OVER_ACCUM:
            return f"1 / (n·A{ranks}) ({n})"
