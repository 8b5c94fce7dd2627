"""Parts that every loop written here shares: loader, optimizer, schedule, and the journal of what it claims."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset
from transformers import get_scheduler

from ...scenarios import OptimizerName, Precision, Scenario
from ..ledger import Claims, LogEntry
from .subject import Bench

__all__ = [
    "Journal",
    "autocast_of",
    "build_optimizer",
    "build_schedule",
    "label_tokens",
    "last_checkpoint",
    "length_of",
    "loader_of",
    "process_group",
    "sum_over_ranks",
    "target_of",
    "to_device",
]

_STATE = "loop.pt"


def loader_of(bench: Bench, ranks: int = 1, *, shared_by: int = 1) -> DataLoader[Any]:
    """Return the training loader that the scenario asks for; over several `ranks`, that of this rank.

    Where its batches are cut up for the ranks afterwards, it is `shared_by` so many.
    """
    scenario = bench.scenario
    sized = not isinstance(bench.train_dataset, IterableDataset)
    sampler: DistributedSampler[Any] | None = None
    if ranks > 1:
        sampler = DistributedSampler(
            bench.train_dataset, shuffle=scenario.shuffle, seed=scenario.seed, drop_last=scenario.drop_last
        )
    return DataLoader(
        bench.train_dataset,
        batch_size=scenario.per_device_batch_size * shared_by,
        shuffle=scenario.shuffle and sized and sampler is None,
        sampler=sampler,
        drop_last=scenario.drop_last,
        generator=torch.Generator().manual_seed(scenario.seed),
    )


@contextmanager
def process_group() -> Iterator[int]:
    """Join the other ranks, if torchrun has started some, for the length of the block; gives their number."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks == 1:
        yield 1
        return
    dist.init_process_group("gloo")
    try:
        yield ranks
    finally:
        dist.destroy_process_group()


def sum_over_ranks(values: list[float]) -> list[float]:
    """Return the sums of these figures over all ranks; on one rank the figures themselves."""
    if not dist.is_initialized():
        return values
    tensor = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(tensor)
    sums: list[float] = tensor.tolist()
    return sums


def length_of(loader: DataLoader[Any]) -> int | None:
    """Return the micro-batches of an epoch, or None where the dataset has no length."""
    return None if isinstance(loader.dataset, IterableDataset) else len(loader)


def target_of(scenario: Scenario, per_epoch: int | None) -> int:
    """Return the optimizer steps to make: a positive `max_steps`, else the epochs; none if there is no data."""
    if per_epoch == 0:
        return 0
    return scenario.max_steps or math.ceil(
        scenario.epochs * math.ceil((per_epoch or 1) / scenario.grad_accum)
    )


def build_optimizer(scenario: Scenario, model: torch.nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer by its `TrainingArguments.optim` name, without weight decay."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if scenario.optimizer is OptimizerName.SGD:
        return torch.optim.SGD(parameters, lr=scenario.learning_rate)
    fused = scenario.optimizer is OptimizerName.ADAMW_FUSED
    return torch.optim.AdamW(parameters, lr=scenario.learning_rate, weight_decay=0.0, fused=fused)


def build_schedule(
    scenario: Scenario, optimizer: torch.optim.Optimizer, total: int, *, times: int = 1
) -> Any:
    """Return the schedule by its Hugging Face name, built for `total` optimizer steps of `times` advances each."""
    return get_scheduler(
        scenario.lr_schedule.value,
        optimizer,
        num_warmup_steps=scenario.warmup_steps * times,
        num_training_steps=total * times,
    )


def label_tokens(batch: dict[str, torch.Tensor]) -> int:
    """Count the label tokens of a micro-batch: labels other than -100, after the causal shift."""
    return int((batch["labels"][..., 1:] != -100).sum())


def to_device(batch: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    """Return the micro-batch on the model's device; on the CPU it is there already."""
    return {name: tensor.to(device) for name, tensor in batch.items()}


def autocast_of(scenario: Scenario, device: torch.device) -> torch.autocast:
    """Return the context of a forward."""
    dtype = torch.float16 if scenario.precision is Precision.FP16 else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=scenario.precision is not Precision.FP32)


def last_checkpoint(output_dir: Path) -> Path:
    """Return the newest `checkpoint-N` of a directory."""
    return max(output_dir.glob("checkpoint-*"), key=lambda path: int(path.name.removeprefix("checkpoint-")))


class Journal:
    """Counts updates and does what is due after one: log, evaluation, checkpoint, in that order.

    Args:
        bench: what is trained.
        per_epoch: micro-batches of a pass, None where unknown. target: optimizer steps to make.
        parts: what a checkpoint holds beside the model, by name; each has `state_dict` and `load_state_dict`. Without
            parts it holds the model alone.
        also: writes more into the directory of a checkpoint.
        evaluation: the batches of an evaluation, where the loop has prepared a loader of its own.
    """

    def __init__(
        self,
        bench: Bench,
        per_epoch: int | None,
        target: int,
        parts: Mapping[str, Any] | None = None,
        also: Callable[[Path], None] | None = None,
        evaluation: Iterable[Any] | None = None,
    ) -> None:
        self._also = also
        self._evaluation = evaluation
        self.updates = 0
        self._parts = parts
        self._planned = target
        self._bench = bench
        self._per_epoch = per_epoch
        self._target = target
        self._epoch: float | None = None if per_epoch is None else 0.0
        self._interval_loss = 0.0
        self._logged_at = 0

    @property
    def finished(self) -> bool:
        """Whether the target is reached."""
        return self.updates >= self._target

    def add_loss(self, loss: float) -> None:
        """Add what one micro-batch contributes to the loss of its window."""
        self._interval_loss += loss

    def suppressed(self) -> None:
        """An attempt that the grad scaler suppressed: it is no update, and asked for epochs, none makes up for it."""
        if not self._bench.scenario.max_steps:
            self._target -= 1

    def restore(self, checkpoint: Path) -> dict[str, Any]:
        """Put all parts where a checkpoint found them, and return the place in the data that it holds."""
        state = torch.load(checkpoint / _STATE, weights_only=True)
        for name, part in (self._parts or {}).items():
            part.load_state_dict(state["parts"][name])
        for name, value in state["journal"].items():
            setattr(self, name, value)
        place: dict[str, Any] = state["place"]
        return place

    def updated(
        self,
        *,
        passes: int,
        done: int,
        rate: float,
        norm: torch.Tensor | None,
        place: Mapping[str, Any] | None = None,
    ) -> None:
        """One more update, `done` micro-batches into the pass after `passes` complete ones.

        `place` is what the loop needs to find its place in the data again.
        """
        scenario, claims = self._bench.scenario, self._bench.claims
        self.updates += 1
        if self._per_epoch is not None:
            self._epoch = passes + done / self._per_epoch
        if scenario.logging_steps and self.updates % scenario.logging_steps == 0:
            claims.logged(
                LogEntry(
                    global_step=self.updates,
                    epoch=self._epoch,
                    loss=self._interval_loss / (self.updates - self._logged_at),
                    learning_rate=rate,
                    grad_norm=None if norm is None else float(norm),
                )
            )
            self._interval_loss, self._logged_at = 0.0, self.updates
        if self._is_due(scenario.eval_steps):
            self._evaluate()
            claims.evaluated(self.updates)
        if self._is_due(scenario.save_steps):
            self._save(self._bench.output_dir / f"checkpoint-{self.updates}", place)
            claims.saved(self.updates)

    def close(self, **more: Any) -> Claims:
        """Return the claims; `more` are those that the loop counts itself."""
        scenario, claims = self._bench.scenario, self._bench.claims
        return Claims(
            global_step=self.updates,
            epoch=self._epoch,
            planned_steps={"state": self._planned},
            log=tuple(claims.log),
            saved_at=tuple(claims.saved_at) if scenario.save_steps else None,
            evaluated_at=tuple(claims.evaluated_at) if scenario.eval_steps else None,
            **more,
        )

    def _save(self, checkpoint: Path, place: Mapping[str, Any] | None) -> None:
        self._bench.model.save_pretrained(checkpoint)
        if self._parts is not None:
            kept = ("updates", "_target", "_epoch", "_interval_loss", "_logged_at")
            journal = {name: getattr(self, name) for name in kept}
            parts = {name: part.state_dict() for name, part in self._parts.items()}
            torch.save({"parts": parts, "journal": journal, "place": dict(place or {})}, checkpoint / _STATE)
        if self._also is not None:
            self._also(checkpoint)

    def _is_due(self, every: int) -> bool:
        return bool(every) and (self.updates % every == 0 or self.finished)

    def _evaluate(self) -> None:
        bench = self._bench
        bench.model.eval()
        batches = self._evaluation
        if batches is None:
            batches = DataLoader(bench.eval_dataset, batch_size=bench.scenario.per_device_batch_size)
        with torch.no_grad():
            for batch in batches:
                bench.model(**batch)
        bench.model.train()
