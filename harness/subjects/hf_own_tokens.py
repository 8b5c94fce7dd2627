"""Subject `hf-own-tokens`: `transformers.Trainer` with `average_tokens_across_devices=False`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ...scenarios import LossProtocol, Scenario
from .environment import version_in
from .hf import HfTrainer, contract_of_release

__all__ = ["HfOwnTokens"]


class HfOwnTokens(HfTrainer):
    """On several ranks each divides by the label tokens of its own part of the window, as its documentation says."""

    name = "hf-own-tokens"
    changes: ClassVar[Mapping[str, Any]] = {"average_tokens_across_devices": False}

    @property
    def contract(self) -> str:
        """The release's, with a token mean on every rank."""
        return "hf-5-own-tokens"

    def supports(self, scenario: Scenario) -> str | None:
        """What Trainer does of it, in releases of which there is such a contract, for models that honour a divisor."""
        installed = version_in("transformers", self.environment)
        if contract_of_release(installed) != "hf-5":
            return f"transformers {installed}: the contract of the setting is written for 5.x"
        if scenario.loss_protocol is LossProtocol.IGNORED:
            return "loss protocol ignored: a known deviation of Trainer, with the setting or without"
        return super().supports(scenario)
