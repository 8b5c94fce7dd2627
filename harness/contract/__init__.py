"""What is promised: contracts, their closed forms, and the rules an account must satisfy. No torch, no I/O."""

from .books import CellBooks, Finding, Findings, NotJudged, draw_up
from .contracts import CONTRACTS, Contract, LoggedLoss, Reduction, Windows, contract_named
from .curves import observed_curves
from .expectation import Expectation, Terms, expect, terms_of
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
    "rule_named",
    "terms_of",
    "token_weight",
    "window_weights",
]
