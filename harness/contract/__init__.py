"""What is promised: contracts, their closed forms, and the rules an account must satisfy. No torch, no I/O."""

from .books import CellBooks, Finding, Findings, NotJudged, draw_up
from .contracts import CONTRACTS, Contract, Horizon, LoggedLoss, Reduction, Windows, contract_named
from .curves import observed_curves
from .expectation import Expectation, Terms, expect, terms_of
from .padding import padding_due, padding_formula, padding_rows
from .reduction import token_weight, window_weights
from .rules import RULES, Rule, rule_named
from .schedules import learning_rate

__all__ = [
    "CONTRACTS",
    "RULES",
    "CellBooks",
    "Contract",
    "Expectation",
    "Finding",
    "Findings",
    "Horizon",
    "LoggedLoss",
    "NotJudged",
    "Reduction",
    "Rule",
    "Terms",
    "Windows",
    "contract_named",
    "draw_up",
    "expect",
    "learning_rate",
    "observed_curves",
    "padding_due",
    "padding_formula",
    "padding_rows",
    "rule_named",
    "terms_of",
    "token_weight",
    "window_weights",
]
