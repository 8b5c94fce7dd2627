"""Options that both cross entropies share, validated once, and the divisor of the loss."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LossOptions:
    """How logits become a loss."""

    ignore_index: int
    softcap: float
    logit_scale: float
    label_smoothing: float
    z_loss: float

    @classmethod
    def unpack(cls, values: tuple[int, float, float, float, float]) -> LossOptions:
        """From the flat arguments of a torch op."""
        ignore_index, softcap, logit_scale, label_smoothing, z_loss = values
        return cls(
            ignore_index=ignore_index,
            softcap=softcap,
            logit_scale=logit_scale,
            label_smoothing=label_smoothing,
            z_loss=z_loss,
        )

    def flat(self) -> tuple[int, float, float, float, float]:
        """As flat arguments of a torch op."""
        return self.ignore_index, self.softcap, self.logit_scale, self.label_smoothing, self.z_loss

    def check(self, kernel: str) -> None:
        """Raise ValueError where an option has no meaning."""
        if not (math.isfinite(self.softcap) and self.softcap >= 0):
            raise ValueError(f"{kernel}: softcap must be finite and >= 0 (0 is off), got {self.softcap}")
        if not (math.isfinite(self.logit_scale) and self.logit_scale != 0):
            raise ValueError(f"{kernel}: logit_scale must be finite and not 0, got {self.logit_scale}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"{kernel}: label_smoothing must be in [0, 1), got {self.label_smoothing}")
        if not (math.isfinite(self.z_loss) and self.z_loss >= 0):
            raise ValueError(f"{kernel}: z_loss must be finite and >= 0, got {self.z_loss}")


def divisor(
    kernel: str, labels_T: Tensor, ignore_index: int, num_items_in_batch: int | Tensor | None
) -> int | Tensor:
    """What the summed loss is divided by.

    Args:
        kernel: Name for messages.
        labels_T: Labels.
        ignore_index: The label that does not count.
        num_items_in_batch: Explicit divisor, or None for the number of labels that count.

    Returns:
        The divisor; with None and no label that counts, 1, so that such a batch gives loss 0 and gradient 0.

    Raises:
        ValueError: An int that is not positive, or a tensor that is not 0-dimensional.
    """
    if num_items_in_batch is None:
        return labels_T.ne(ignore_index).sum().clamp_(min=1)
    if isinstance(num_items_in_batch, Tensor):
        if num_items_in_batch.dim() != 0:
            shape = list(num_items_in_batch.shape)
            raise ValueError(f"{kernel}: num_items_in_batch must be 0-dimensional, got shape {shape}")
        return num_items_in_batch.to(labels_T.device, non_blocking=True)
    if num_items_in_batch <= 0:
        raise ValueError(f"{kernel}: num_items_in_batch must be positive, got {num_items_in_batch}")
    return num_items_in_batch


def check_labels(kernel: str, labels_T: Tensor, rows: int, vocabulary: int, ignore_index: int) -> None:
    """Raise ValueError unless labels are int64 `[T]` (and, on the CPU, inside the vocabulary)."""
    if labels_T.dim() != 1 or labels_T.shape[0] != rows:
        raise ValueError(
            f"{kernel}: labels have shape {list(labels_T.shape)}, expected [{rows}], already shifted and flat"
        )
    if labels_T.dtype != torch.int64:
        raise ValueError(f"{kernel}: labels are {labels_T.dtype}, expected torch.int64")
    if labels_T.device.type == "cpu" and rows and not torch.compiler.is_compiling():
        bad_T = labels_T.ne(ignore_index) & ((labels_T < 0) | (labels_T >= vocabulary))
        if bool(bad_T.any()):
            row = int(bad_T.nonzero()[0])
            raise ValueError(
                f"{kernel}: label {int(labels_T[row])} at row {row} is outside the vocabulary [0, {vocabulary})"
                f" and is not ignore_index {ignore_index}"
            )
