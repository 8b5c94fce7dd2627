"""Faults of when evaluations and checkpoints are made."""

from __future__ import annotations

from .loop import Loop
from .registry import Family, fault


@fault("save", Family.CADENCE, "transformers 4.31.0")
class NoFinalSave(Loop):
    """No checkpoint after the last update."""

    def save_is_due(self) -> bool:
        """Multiples only."""
        return bool(self.save_every) and self.updates % self.save_every == 0


@fault("save", Family.CADENCE)
class SavesOnlyAtTheEnd(Loop):
    """The only checkpoint is the last."""

    def save_is_due(self) -> bool:
        """At the end."""
        return bool(self.save_every) and self.is_finished()


@fault("save", Family.CADENCE, "Lightning #1923")
class SavesByMicroBatches(Loop):
    """The cadence of checkpoints is counted in micro-batches."""

    def save_is_due(self) -> bool:
        """When the micro-batches come out even."""
        every = self.save_every
        return bool(every) and (self.micro_batches % every == 0 or self.is_finished())


@fault("save", Family.CADENCE)
class SavesEveryUpdate(Loop):
    """A checkpoint after every update, whatever save_steps says."""

    def save_is_due(self) -> bool:
        """Always."""
        return bool(self.save_every)


@fault("eval", Family.CADENCE, "transformers up to 4.57 (#43935)")
class NoFinalEval(Loop):
    """No evaluation after the last update."""

    def eval_is_due(self) -> bool:
        """Multiples only."""
        return bool(self.eval_every) and self.updates % self.eval_every == 0


@fault("eval", Family.CADENCE)
class EvaluatesOneLate(Loop):
    """Evaluations come one update late."""

    def eval_is_due(self) -> bool:
        """One late."""
        every = self.eval_every
        return bool(every) and ((self.updates - 1) % every == 0 or self.is_finished())


@fault("eval", Family.CADENCE, "transformers #24248")
class EvaluatesByShareOfEpoch(Loop):
    """The cadence of evaluations begins anew with every epoch."""

    def eval_is_due(self) -> bool:
        """Updates of this epoch."""
        every = self.eval_every
        in_epoch = self.updates - self.epoch * self.U
        return bool(every) and (in_epoch % every == 0 or self.is_finished())


@fault("eval", Family.CADENCE)
class EvaluatesTwiceAtTheEnd(Loop):
    """The last evaluation is made twice."""

    def evaluate(self) -> None:
        """Again at the end."""
        super().evaluate()
        if self.is_finished():
            super().evaluate()
