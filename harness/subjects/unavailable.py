"""Trainers that were tried and cannot be audited, each with the reason: rows of the capability table, not cells."""

from __future__ import annotations

from types import MappingProxyType

from ...scenarios import Scenario
from ..ledger import Claims
from .environment import Environment
from .subject import Bench, SubjectError

__all__ = ["UNAVAILABLE", "UnavailableTrainer"]

UNAVAILABLE = MappingProxyType(
    {
        "axolotl": "axolotl 0.19.0 imports on a CPU, but builds a trainer only with its fifty pinned packages beside "
        "it (wandb, opentelemetry, bitsandbytes, a transformers of its own): no overlay of them has been made yet",
        "llamafactory": "llamafactory 0.9.5 imports torchaudio (llamafactory/data/mm_plugin.py), whose wheel on PyPI "
        "is built for CUDA and cannot be loaded beside a CPU build of torch",
        "torchtune": "torchtune 0.6.1 trains models of its own, which its recipes build from a file: the audit's "
        "models cannot be handed to them, and rows of another architecture cannot be weighed",
    }
)
"""name to the reason, as it was found"""


class UnavailableTrainer:
    """A name that declines every scenario, so that who asks for it learns why."""

    contract = "hf-5"
    imports: tuple[str, ...] = ()
    environment: Environment | None = None
    own_process = False
    fingerprint = ""
    prints_claims = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.packages: tuple[str, ...] = (name,)

    def supports(self, scenario: Scenario) -> str | None:
        """Return the reason, whatever the scenario."""
        del scenario
        return UNAVAILABLE[self.name]

    def train(self, bench: Bench) -> Claims:
        """Never called: nothing is supported."""
        del bench
        raise SubjectError(f"subject {self.name!r}: {UNAVAILABLE[self.name]}")
