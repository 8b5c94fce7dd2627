"""From rows to the tensors of one micro-batch.

Legend: B rows of a micro-batch, L tokens of its longest row, T tokens of all its rows.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IGNORE_INDEX: Final = -100
_SEQUENCES: Final = ("input_ids", "labels", "attention_mask")


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """The input of one forward and backward.

    Attributes:
        inputs: Keyword arguments of the model's forward, among them ``input_ids`` and ``labels``, both (B,
            L), or (1, T) with ``position_ids`` and the document bounds ``cu_seqlens`` if packed.
        rows: Row numbers, -1 where the dataset has no numbers.
        label_tokens: Positions that the loss counts (label is not -100, after the shift).
        input_tokens: Tokens that are no padding.
        padding_only_right: The attention mask says nothing that causal attention does not: every row is whole
            tokens followed by padding.
    """

    inputs: dict[str, Any]
    rows: tuple[int, ...]
    label_tokens: int
    input_tokens: int
    padding_only_right: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Collator:
    """Makes micro-batches.

    Attributes:
        pad_token_id: Fills ``input_ids``; the loss never sees it.
        max_length: Longer rows are cut to it, ``None`` for no limit.
        extra_keys: Keys beyond tokens, labels and mask that the model's forward names; others are left out.
        takes_mask: Whether the model's forward can be handed an ``attention_mask``.
    """

    pad_token_id: int
    max_length: int | None
    extra_keys: frozenset[str]
    takes_mask: bool

    def __call__(self, samples: Sequence[tuple[int, Mapping[str, Any]]]) -> MicroBatch:
        """Collate numbered rows.

        Args:
            samples: Row number and row. A row needs ``input_ids`` and ``labels`` of equal length.

        Returns:
            The micro-batch, padded on the right to the longest row.

        Raises:
            ValueError: A row lacks a key or its parts differ in length.
        """
        numbers = tuple(number for number, _ in samples)
        rows = [read_row(number, row, self.max_length) for number, row in samples]
        lengths = [len(row["input_ids"]) for row in rows]
        longest = max(lengths)
        inputs: dict[str, Any] = {
            "input_ids": _padded([row["input_ids"] for row in rows], longest, self.pad_token_id),
            "labels": _padded([row["labels"] for row in rows], longest, IGNORE_INDEX),
        }
        masks = [row.get("attention_mask") for row in rows]
        right = all(mask is None or bool((mask[1:] <= mask[:-1]).all()) for mask in masks)
        if min(lengths) < longest or any(mask is not None for mask in masks):
            whole = [
                torch.ones(length, dtype=torch.long) if mask is None else mask
                for mask, length in zip(masks, lengths, strict=True)
            ]
            mask_BL = _padded(whole, longest, 0)
            input_tokens = int(mask_BL.sum())
            if self.takes_mask:
                inputs["attention_mask"] = mask_BL
        else:
            input_tokens = sum(lengths)
        for key in self.extra_keys.intersection(*(row.keys() for _, row in samples)):
            inputs[key] = torch.utils.data.default_collate([row[key] for _, row in samples])
        return MicroBatch(
            inputs=inputs,
            rows=numbers,
            label_tokens=int((inputs["labels"][:, 1:] != IGNORE_INDEX).sum()),
            input_tokens=input_tokens,
            padding_only_right=right,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedCollator:
    """Makes one (1, T) sequence without padding of packed rows.

    Attributes:
        max_length: Longer rows are cut to it.
    """

    max_length: int | None

    def __call__(self, samples: Sequence[tuple[int, Mapping[str, Any]]]) -> MicroBatch:
        """Collate packs.

        Args:
            samples: Row numbers and rows, one after the other in the order in which they are packed.

        Returns:
            The micro-batch: ``position_ids`` restart at 0 with every row, ``cu_seqlens`` (rows + 1,) int32
            holds the bounds, and the first label of a row is -100, so that no row predicts the next one.

        Raises:
            ValueError: A row lacks a key or its parts differ in length.
        """
        rows = [read_row(number, row, self.max_length) for number, row in samples]
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        labels = []
        for row in rows:
            of_row = row["labels"].clone()
            of_row[0] = IGNORE_INDEX
            labels.append(of_row)
        inputs = {
            "input_ids": torch.cat([row["input_ids"] for row in rows])[None],
            "labels": torch.cat(labels)[None],
            "position_ids": torch.cat([torch.arange(int(length)) for length in lengths])[None],
            "cu_seqlens": torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32),
        }
        return MicroBatch(
            inputs=inputs,
            rows=tuple(number for number, _ in samples),
            label_tokens=int((inputs["labels"][:, 1:] != IGNORE_INDEX).sum()),
            input_tokens=int(lengths.sum()),
            padding_only_right=True,
        )


def read_row(number: int, row: Mapping[str, Any], max_length: int | None = None) -> dict[str, Tensor]:
    """Check one row and turn its sequences into tensors.

    Args:
        number: Row number, for messages.
        row: The row.
        max_length: Cut longer rows, ``None`` for no limit.

    Returns:
        ``input_ids``, ``labels`` and, if the row has one, ``attention_mask``, each (L,) int64.

    Raises:
        ValueError: A key is missing, a sequence is empty or lengths differ.
    """
    for key in ("input_ids", "labels"):
        if key not in row:
            raise ValueError(f"row {number} has no {key!r}, its keys are {sorted(row)}")
    parts = {
        key: torch.as_tensor(row[key], dtype=torch.long) for key in _SEQUENCES if row.get(key) is not None
    }
    lengths = {key: tuple(part.shape) for key, part in parts.items()}
    if len(set(lengths.values())) != 1 or parts["input_ids"].dim() != 1 or not len(parts["input_ids"]):
        raise ValueError(f"row {number} needs sequences of one equal length above 0, got shapes {lengths}")
    return parts if max_length is None else {key: part[:max_length] for key, part in parts.items()}


def accepted_keys(model: nn.Module) -> frozenset[str]:
    """Names that the model's forward takes beyond tokens, labels and mask.

    A forward that merely takes ``**kwargs`` does not name a key: as in ``Trainer``
    (``_set_signature_columns_if_needed``), such a key is left out.
    """
    names = inspect.signature(type(model).forward).parameters
    return frozenset(names) - {"self", *_SEQUENCES}


def takes_mask(model: nn.Module) -> bool:
    """Whether the model's forward names ``attention_mask`` or takes any keyword."""
    parameters = inspect.signature(type(model).forward).parameters
    return "attention_mask" in parameters or any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def _padded(parts: Sequence[Tensor], length: int, fill: int) -> Tensor:
    out = parts[0].new_full((len(parts), length), fill)
    for at, part in enumerate(parts):
        out[at, : len(part)] = part
    return out
