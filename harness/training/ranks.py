"""The seam to other processes: sums over ranks. Everything else in the loop knows one process only.

Gradients are *summed*, not averaged: each rank's loss is already divided by the label tokens of the whole
window over all ranks, so that the sum weighs every label token alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """The processes of a run.

    Attributes:
        rank: This process, from 0.
        count: All of them.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def current(cls) -> Ranks:
        """The ranks of ``torch.distributed``'s default group, or a single one if there is none."""
        if dist.is_available() and dist.is_initialized():
            return cls(rank=dist.get_rank(), count=dist.get_world_size())
        return cls()

    @property
    def is_main(self) -> bool:
        """Whether this process writes the checkpoints."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for every rank."""
        if self.count > 1:
            dist.barrier()

    def total(self, values: list[float], device: torch.device) -> list[float]:
        """Sum small figures over ranks.

        Args:
            values: The same figures on every rank.
            device: Where the process group's tensors live.

        Returns:
            Their sums; with one rank the values themselves.
        """
        if self.count == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(tensor)
        sums: list[float] = tensor.tolist()
        return sums

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients over ranks, in place; a rank without a gradient counts as zero.

        Args:
            parameters: The trained parameters, in the same order on every rank.
        """
        if self.count == 1:
            return
        grads: list[Tensor] = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            grads.append(parameter.grad)
        by_kind: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
        for grad in grads:
            by_kind.setdefault((grad.device, grad.dtype), []).append(grad)
        for alike in by_kind.values():
            flat = torch.cat([grad.reshape(-1) for grad in alike])
            dist.all_reduce(flat)
            at = 0
            for grad in alike:
                grad.copy_(flat[at : at + grad.numel()].view_as(grad))
                at += grad.numel()

    def agree_on_parameters(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every rank the parameters of rank 0.

        Args:
            parameters: The model's parameters, in the same order on every rank.
        """
        if self.count > 1:
            for parameter in parameters:
                dist.broadcast(parameter.data, src=0)
