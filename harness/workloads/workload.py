"""The workload of one scenario: model, datasets, and how rows are recognised in what a trainer feeds the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from ..oracle.projection import Weighing

__all__ = ["Sight", "Weighing", "Workload"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """What a forward was seen to get.

    Attributes:
        rows: ids of the rows in the input, in order of appearance.
        label_tokens: label tokens of each of them, after the shift.
        input_tokens: positions that are not padding.
    """

    rows: tuple[int, ...]
    label_tokens: tuple[int, ...]
    input_tokens: int


class Workload(Protocol):
    """What probes need to know of the data and the model."""

    train_dataset: Any
    eval_dataset: Any

    def identify(self, input_ids: Tensor, labels: Tensor | None, attention_mask: Tensor | None) -> Sight:
        """Recognise the rows of a forward.

        Args:
            input_ids: `[batch, length]` int64.
            labels: the same shape, where given.
            attention_mask: the same shape, where given.
        """

    def weigh(self, model: nn.Module, rows: Sequence[int]) -> Weighing:
        """Return the weight of one label token of each row in the gradient that `model` holds now.

        Args:
            model: the subject's model, just before an update.
            rows: the rows of the window.
        """

    def fresh_model(self) -> nn.Module:
        """Return the model as it was before training, newly built."""
