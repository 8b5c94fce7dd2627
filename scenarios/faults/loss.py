"""Faults of loss and gradient normalisation."""

from __future__ import annotations

from typing import Any

from .loop import Batch, Loop, label_tokens
from .registry import Family, fault


class _MeanLoop(Loop):
    """Takes the micro-batch mean from the model and scales it itself."""

    def loss(self, batch: Batch, divisor: Any, window: list[Batch]) -> Any:
        """The mean, times a factor."""
        return self.model(**batch).loss * self.factor(batch, divisor, window)

    def factor(self, batch: Batch, divisor: Any, window: list[Batch]) -> float:
        """Label tokens of the micro-batch over those of the window: the right one."""
        del window
        return float(label_tokens(batch) / divisor)


@fault("weight", Family.LOSS, "nanoGPT #168, verl #3332")
class NotDivided(_MeanLoop):
    """Micro-batch means are summed, not averaged."""

    def factor(self, batch: Batch, divisor: Any, window: list[Batch]) -> float:
        """No factor."""
        return 1.0


@fault("weight", Family.LOSS, "transformers up to 4.45 (#34191), torchtune #1875")
class MeanOfMeans(_MeanLoop):
    """Micro-batch means are averaged, so that tokens of short rows weigh more."""

    def factor(self, batch: Batch, divisor: Any, window: list[Batch]) -> float:
        """One over the window."""
        return 1.0 / len(window)


@fault("weight", Family.LOSS, "transformers up to 4.54 (#38837)")
class ShortWindowUnderscaled(_MeanLoop):
    """The short last window is divided as if it were full."""

    def factor(self, batch: Batch, divisor: Any, window: list[Batch]) -> float:
        """Too small by len(window) / A."""
        return super().factor(batch, divisor, window) * len(window) / self.A


@fault("weight", Family.LOSS)
class DividedTwice(Loop):
    """Divided by the label tokens and by the accumulation again."""

    def divisor(self, window: list[Batch]) -> Any:
        """N·A."""
        return super().divisor(window) * self.A


@fault("weight", Family.LOSS, "transformers 4.47.0, 4.48.0 (#35121, #35651)")
class TimesAccumulation(Loop):
    """Multiplied by the accumulation."""

    def loss(self, batch: Batch, divisor: Any, window: list[Batch]) -> Any:
        """Times A."""
        return super().loss(batch, divisor, window) * self.A


@fault("weight", Family.LOSS, "transformers 4.46.0 (LLaMA-Factory #6639)")
class DivisorOfPreviousWindow(Loop):
    """Divided by the label tokens of the window before."""

    previous: Any = None

    def divisor(self, window: list[Batch]) -> Any:
        """One window late."""
        own = super().divisor(window)
        used, self.previous = (own if self.previous is None else self.previous), own
        return used


@fault("weight", Family.LOSS)
class CountsUnshiftedLabels(Loop):
    """The divisor counts labels before the shift."""

    def divisor(self, window: list[Batch]) -> Any:
        """Position 0 too."""
        return sum(int((batch["labels"] != -100).sum()) for batch in window)


@fault("weight", Family.LOSS)
class CountsPadding(Loop):
    """The divisor counts padding."""

    def divisor(self, window: list[Batch]) -> Any:
        """Every position after the shift."""
        return sum(batch["labels"][:, 1:].numel() for batch in window)


@fault("weight", Family.LOSS)
class DividedByRows(Loop):
    """Token losses are summed and divided by rows."""

    def divisor(self, window: list[Batch]) -> Any:
        """Rows of the window."""
        return sum(len(batch["labels"]) for batch in window)


@fault("weight", Family.LOSS)
class RowMeans(Loop):
    """Every row weighs the same, so that tokens of short rows weigh more."""

    def loss(self, batch: Batch, divisor: Any, window: list[Batch]) -> Any:
        """The mean of the rows' means."""
        rows = sum(len(item["labels"]) for item in window)
        losses = [
            self.model(**{name: tensor[index : index + 1] for name, tensor in batch.items()}).loss
            for index in range(len(batch["labels"]))
        ]
        return sum(losses) / rows


@fault("weight", Family.LOSS)
class FirstMicroBatchTwice(Loop):
    """The first micro-batch of a window goes backward twice."""

    def accumulate(self, window: list[Batch]) -> None:
        """Again, without being counted."""
        super().accumulate(window)
        if len(window) > 1:
            self.backward(self.loss(window[0], self.divisor(window), window))


@fault("weight", Family.LOSS)
class OnlyLastMicroBatch(Loop):
    """Gradients are zeroed before every backward: only the last micro-batch counts."""

    def backward(self, loss: Any) -> None:
        """Zeroed first."""
        self.optimizer.zero_grad()
        super().backward(loss)


@fault("weight", Family.LOSS)
class LongRowsDouble(Loop):
    """Micro-batches with more label tokens than the window's mean count double."""

    def loss(self, batch: Batch, divisor: Any, window: list[Batch]) -> Any:
        """Twice for the long ones."""
        long = label_tokens(batch) * len(window) > divisor
        return super().loss(batch, divisor, window) * (2 if long else 1)


@fault("weight", Family.LOSS)
class WrongInSecondEpoch(Loop):
    """Right in the first epoch; afterwards divided by the micro-batch's own tokens."""

    def divisor(self, window: list[Batch]) -> Any:
        """From the second epoch on, none."""
        return super().divisor(window) if self.epoch == 0 else None
