"""Faults of packing and token counts: labels lost or gained on the way to the model, packs, claimed tokens."""

from __future__ import annotations

from typing import Any

from .loop import Batch, Loop, label_tokens
from .registry import Family, fault, unusual

IGNORED = -100
"""label that no loss counts"""


def packed(batch: Batch, *, room: int | None = None, masks_borders: bool = True) -> Batch:
    """Put the rows of a micro-batch into one sequence, without their padding.

    Args:
        batch: `[batch, length]`.
        room: positions of a sequence; a row that does not fit is left out. None takes them all.
        masks_borders: whether the first label of every row is masked, as it must be: it would be predicted from the row
            before.

    Returns:
        the same names, each `[1, positions]`.
    """
    import torch

    lengths = [int(mask.sum()) for mask in batch["attention_mask"]]
    kept: list[int] = []
    for row, length in enumerate(lengths):
        if not kept or room is None or sum(lengths[item] for item in kept) + length <= room:
            kept.append(row)
    joined = {
        name: torch.cat([tensor[row, : lengths[row]] for row in kept]).unsqueeze(0)
        for name, tensor in batch.items()
    }
    if masks_borders:
        labels, start = joined["labels"], 0
        for row in kept:
            labels[0, start] = IGNORED
            start += lengths[row]
    joined["position_ids"] = torch.cat([torch.arange(lengths[row]) for row in kept]).unsqueeze(0)
    return joined


class _RelabelledLoop(Loop):
    """Changes the labels of a micro-batch before anything else sees them."""

    def train_window(self, window: list[Batch]) -> None:
        """Relabelled first."""
        super().train_window([batch | {"labels": self.relabelled(batch)} for batch in window])

    def relabelled(self, batch: Batch) -> Any:
        """Labels `[batch, length]` as the model gets them."""
        return batch["labels"]


class _PackingLoop(Loop):
    """Every micro-batch is one pack."""

    def train_window(self, window: list[Batch]) -> None:
        """Packed first."""
        super().train_window([self.pack(batch) for batch in window])

    def pack(self, batch: Batch) -> Batch:
        """One sequence of a micro-batch's rows."""
        return packed(batch)

    def loss(self, batch: Batch, divisor: Any, window: list[Batch]) -> Any:
        """Neither mask nor cache: then positions that begin anew keep a row from attending to the one before it."""
        plain = {name: tensor for name, tensor in batch.items() if name != "attention_mask"}
        return super().loss({**plain, "use_cache": False}, divisor, window)


@unusual
class PacksRows(_PackingLoop):
    """The rows of a micro-batch lie in one sequence, borders masked."""


@fault("weight", Family.TOKENS, "transformers #47394")
class LabelsShiftedTwice(_RelabelledLoop):
    """Labels are shifted before they reach a model that shifts them: every row loses its first one."""

    def relabelled(self, batch: Batch) -> Any:
        """One to the left, the end masked."""
        import torch

        return torch.nn.functional.pad(batch["labels"][:, 1:], (0, 1), value=IGNORED)


@fault("weight", Family.TOKENS)
class LastLabelCutOff(_RelabelledLoop):
    """The last label of every row is masked, as if it were the end of a prompt."""

    def relabelled(self, batch: Batch) -> Any:
        """Without the last one of each row."""
        labels = batch["labels"].clone()
        for row, mask in enumerate(batch["attention_mask"]):
            labels[row, int(mask.sum()) - 1] = IGNORED
        return labels


@fault("weight", Family.TOKENS)
class PaddingIsLabelled(_RelabelledLoop):
    """Padding is not masked in the labels: the model learns it, and the divisor counts it."""

    def relabelled(self, batch: Batch) -> Any:
        """The tokens themselves, where there is padding."""
        return batch["labels"].where(batch["attention_mask"].bool(), batch["input_ids"])


@fault("weight", Family.TOKENS)
class LastRowUnlabelled(_RelabelledLoop):
    """The labels of a micro-batch's last row are all masked; nothing else is wrong with it."""

    def relabelled(self, batch: Batch) -> Any:
        """One row less, where there are several."""
        labels = batch["labels"].clone()
        labels[1:][-1:] = IGNORED
        return labels


@fault("weight", Family.TOKENS)
class BordersCounted(_PackingLoop):
    """In a pack the first token of a row is predicted from the row before, and counted."""

    def pack(self, batch: Batch) -> Batch:
        """Every label stays, masked or not."""
        whole = packed(batch, masks_borders=False)
        whole["labels"] = whole["input_ids"].clone()
        return whole


@fault("weight", Family.TOKENS)
class PackIsOneRow(_PackingLoop):
    """A pack counts as one row: packs weigh the same, however many tokens they hold."""

    def loss(self, batch: Batch, divisor: Any, window: list[Batch]) -> Any:
        """The mean of the packs' means."""
        return self.model(**batch).loss / len(window)


@fault("coverage", Family.TOKENS)
class PackDropsTheRest(_PackingLoop):
    """A row that does not fit into the pack any more is dropped, not moved to the next."""

    def pack(self, batch: Batch) -> Batch:
        """Three quarters of what the micro-batch could hold."""
        return packed(batch, room=batch["input_ids"].numel() * 3 // 4)


@fault("schedule", Family.TOKENS, "trl #943 (0.4.1-0.7.4)")
class ScheduleOfUnpackedRows(_PackingLoop):
    """The schedule's length is computed from rows, the updates from packs."""

    def schedule_length(self) -> int:
        """As if every row were a micro-batch."""
        rows = len(self.train_dataset)
        if self.args.max_steps > 0:
            return max(self.T, -(-rows // self.A))
        return -(-rows // self.A) * self.epochs_to_enter()


@fault("tokens", Family.TOKENS)
class TokensTimesAccumulation(Loop):
    """The claimed tokens are those of a window's last micro-batch, times the accumulation."""

    counted = 0

    def count_tokens(self, batch: Batch) -> int:
        """Remembered only."""
        self.counted = super().count_tokens(batch)
        return 0

    def after_update(self) -> None:
        """Times A."""
        self.input_tokens += self.counted * self.A
        super().after_update()


@fault("tokens", Family.TOKENS)
class TokensOfLastEpoch(Loop):
    """The claimed tokens begin at 0 again in every epoch."""

    def train_epoch(self) -> None:
        """Forgotten."""
        self.input_tokens = 0
        super().train_epoch()


@fault("tokens", Family.TOKENS)
class TokensOfFullBatches(Loop):
    """The claimed tokens take every micro-batch for a full one."""

    def count_tokens(self, batch: Batch) -> int:
        """Of its first row, times B."""
        own = int(batch["attention_mask"][0].sum())
        return own * int(self.args.per_device_train_batch_size)


@fault("tokens", Family.TOKENS)
class TokensWithEvaluation(Loop):
    """The claimed tokens include those of evaluations."""

    def evaluate(self) -> None:
        """Counted too."""
        super().evaluate()
        self.input_tokens += sum(int(row["attention_mask"].sum()) for row in self.eval_dataset)


@fault("weight", Family.TOKENS)
class CountsPaddingOfShortBatch(Loop):
    """The divisor counts the rows that the last, smaller micro-batch of an epoch lacks."""

    def divisor(self, window: list[Batch]) -> Any:
        """The label tokens, and those of the missing rows by the mean of the others."""
        missing = sum(int(self.args.per_device_train_batch_size) - len(batch["labels"]) for batch in window)
        rows = sum(len(batch["labels"]) for batch in window)
        own = sum(label_tokens(batch) for batch in window)
        return own + missing * own / rows
