"""Subject `liger`: `transformers.Trainer` with `use_liger_kernel`, in Triton's interpreter where there is no GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ...scenarios import LossProtocol, ModelKind, Scenario, Tier
from ..contract import contract_named, expect
from .environment import Environment
from .hf import HfTrainer
from .overlay import overlay

__all__ = ["LigerTrainer"]

_MOST_ROWS = 24
"""with the same rows replayed for the books this stays within half a minute"""


class LigerTrainer(HfTrainer):
    """Liger's fused linear cross entropy, the kernel that computes the loss, in place of the head of a Llama."""

    name = "liger"
    packages = ("torch", "transformers", "accelerate", "liger-kernel")
    takes_tracer = False
    own_process = True
    changes: ClassVar[Mapping[str, Any]] = {
        "use_liger_kernel": True,
        # Norm and MLP ask a number for a method of Triton's tensors, which the interpreter does not give it; the rotary
        # embedding is replaced for every Llama of the process, also for those that the run is checked with.
        "liger_kernel_config": {"rms_norm": False, "swiglu": False, "rope": False},
    }

    def __init__(self) -> None:
        self.environment: Environment | None = overlay(
            "liger-kernel", "liger-kernel==0.8.5", variables={"TRITON_INTERPRET": "1"}
        )

    def supports(self, scenario: Scenario) -> str | None:
        """What Trainer supports, with a model whose forward is Llama's own: Liger replaces it."""
        if scenario.model is ModelKind.TRACER:
            return "model tracer: Liger replaces the forward of a Llama"
        if scenario.loss_protocol is not LossProtocol.HONOURED:
            return f"loss protocol {scenario.loss_protocol.value}: Liger replaces the forward that has it"
        rows = expect(scenario, contract_named(self.contract)).micro_batches * scenario.per_device_batch_size
        if scenario.tier is not Tier.GPU and rows > _MOST_ROWS:
            return f"{rows} rows to train on: Triton's interpreter takes a second for each, {_MOST_ROWS} are enough"
        return super().supports(scenario)
