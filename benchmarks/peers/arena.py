"""What every peer is given: a small real model, rows that carry their number, arguments, and the seeded loops."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from stepaudit.scenarios.faults import FAULTS, UNUSUAL, Loop
from torch import nn
from torch.utils.data import default_collate

VOCAB, WIDTH, LENGTH, MOST_ROWS = 32, 8, 8, 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One configuration in which the loops are run.

    Attributes:
        rows, B, A, epochs, max_steps, drop_last: as everywhere in the field.
        schedule, warmup: by Hugging Face name, in updates.
        limit: max_grad_norm; 0 turns clipping off.
        fp16: autocast with a grad scaler.
    """

    rows: int
    B: int
    A: int
    epochs: int = 2
    max_steps: int = -1
    drop_last: bool = False
    schedule: str = "linear"
    warmup: int = 0
    limit: float = 0.0
    fp16: bool = False

    @property
    def M(self) -> int:  # noqa: N802 - the contract's letter
        """Micro-batches of an epoch."""
        return self.rows // self.B if self.drop_last else -(-self.rows // self.B)

    @property
    def U(self) -> int:  # noqa: N802 - the contract's letter
        """Updates of an epoch."""
        return -(-self.M // self.A)

    @property
    def T(self) -> int:  # noqa: N802 - the contract's letter
        """Updates of the run."""
        return self.max_steps if self.max_steps > 0 else self.epochs * self.U

    @property
    def name(self) -> str:
        """Short name for a table."""
        length = f"max_steps={self.max_steps}" if self.max_steps > 0 else f"epochs={self.epochs}"
        return f"rows={self.rows} B={self.B} A={self.A} {length}"


SETTINGS = (
    Setting(rows=16, B=2, A=4, limit=0.05),
    Setting(rows=13, B=2, A=4, limit=0.05),
    Setting(rows=13, B=2, A=3, epochs=3, schedule="cosine", warmup=2),
    Setting(rows=9, B=2, A=2, max_steps=7, limit=0.05),
    Setting(rows=11, B=2, A=3, epochs=3, drop_last=True),
)
"""even; a short last window; odd accumulation, warm-up and no clipping; max_steps inside an epoch; drop_last"""


class TinyModel(nn.Module):
    """Embedding and head; honours `num_items_in_batch`; the loss is a token mean where none is given."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, WIDTH)
        self.head = nn.Linear(WIDTH, VOCAB, bias=False)

    def forward(
        self, input_ids: Any, labels: Any = None, attention_mask: Any = None, num_items_in_batch: Any = None
    ) -> Any:
        """Return logits `[batch, length, VOCAB]` and the causal loss."""
        del attention_mask
        logits = self.head(self.embedding(input_ids))
        if labels is None:
            return SimpleNamespace(logits=logits, loss=None)
        loss = nn.functional.cross_entropy(
            logits[:, :-1].reshape(-1, VOCAB), labels[:, 1:].reshape(-1), ignore_index=-100, reduction="sum"
        )
        count = (labels[:, 1:] != -100).sum() if num_items_in_batch is None else num_items_in_batch
        return SimpleNamespace(logits=logits, loss=loss / count)

    def save_pretrained(self, path: str) -> None:
        """Write the weights."""
        Path(path).mkdir(parents=True, exist_ok=True)
        torch.save(self.state_dict(), Path(path) / "model.pt")


class Rows(torch.utils.data.Dataset[Any]):
    """Row `i` begins with token `i`, which stands nowhere else; label tokens are ragged, the first label is masked."""

    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(1)
        self.tokens = torch.randint(MOST_ROWS, VOCAB, (count, LENGTH), generator=generator)
        self.tokens[:, 0] = torch.arange(count)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        kept = 3 + index * 5 % 6
        labels = self.tokens[index].clone()
        labels[0] = -100
        labels[kept:] = -100
        mask = (torch.arange(LENGTH) < kept).long()
        return {"input_ids": self.tokens[index], "labels": labels, "attention_mask": mask}


def new_model(seed: int = 0) -> TinyModel:
    """The same weights every time."""
    torch.manual_seed(seed)
    return TinyModel()


def arguments(setting: Setting, output_dir: str) -> SimpleNamespace:
    """`TrainingArguments` names."""
    return SimpleNamespace(
        max_steps=setting.max_steps,
        num_train_epochs=float(setting.epochs),
        per_device_train_batch_size=setting.B,
        gradient_accumulation_steps=setting.A,
        dataloader_drop_last=setting.drop_last,
        shuffle=True,
        seed=0,
        optim="sgd",
        learning_rate=0.1,
        lr_scheduler_type=setting.schedule,
        warmup_steps=setting.warmup,
        max_grad_norm=setting.limit,
        weight_decay=0.0,
        adam_beta1=0.9,
        adam_beta2=0.999,
        adam_epsilon=1e-8,
        logging_strategy="steps",
        logging_steps=2,
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="steps",
        save_steps=3,
        dataloader_num_workers=0,
        data_seed=0,
        bf16=False,
        fp16=setting.fp16,
        output_dir=output_dir,
    )


class Silent:
    """An announcer that nobody listens to: no peer here reads what a trainer claims."""

    def logged(self, entry: dict[str, Any]) -> None:
        """Forgotten."""

    def saved(self, global_step: int) -> None:
        """Forgotten."""

    def evaluated(self, global_step: int) -> None:
        """Forgotten."""


def loop_class(name: str) -> type[Loop]:
    """The class of a seeded fault or of a correct but unusual loop."""
    return FAULTS[name].loop if name in FAULTS else UNUSUAL[name].loop


def new_loop(kind: type[Loop], model: Any, setting: Setting, output_dir: str) -> Loop:
    """A loop ready to be prepared or run."""
    return kind(
        model=model,
        train_dataset=Rows(setting.rows),
        eval_dataset=Rows(4),
        args=arguments(setting, output_dir),
        announce=Silent(),
    )


def overridden(kind: type[Loop]) -> set[str]:
    """Names of the parts of the loop in which a seeded loop differs."""
    return {
        name for base in kind.__mro__[: kind.__mro__.index(Loop)] for name in vars(base) if name[:2] != "__"
    }


def batch_of(rows: Any) -> dict[str, Any]:
    """One micro-batch."""
    rows = list(rows)
    dataset = Rows(max(rows) + 1)
    return dict(default_collate([dataset[row] for row in rows]))


def windows_due(setting: Setting) -> Iterator[list[list[list[int]]]]:
    """What a correct loop reads, epoch by epoch: windows of micro-batches of row numbers, in the rows' order."""
    left = setting.T
    while left > 0:
        batches = [
            list(range(setting.rows))[at * setting.B : (at + 1) * setting.B] for at in range(setting.M)
        ]
        windows = [batches[at : at + setting.A] for at in range(0, setting.M, setting.A)][:left]
        left -= len(windows)
        yield windows


def rows_of(input_ids: Any) -> list[int]:
    """The rows of a micro-batch, wherever in a sequence they begin."""
    return [token for token in input_ids.flatten().tolist() if token < MOST_ROWS]


def tell(*, name: str, outcome: str, text: str, checks: int, failing: int, seconds: float) -> None:
    """One line of the answer to the benchmark.

    Args:
        name: of the loop.
        outcome: caught, caught but unnamed, missed, abstained or error.
        text: what the peer says.
        checks: how many were asked.
        failing: how many of them fail.
        seconds: CPU seconds, those of processes that it started too.
    """
    answer = {
        "name": name,
        "outcome": outcome,
        "text": text,
        "checks": checks,
        "failing": failing,
        "seconds": seconds,
    }
    print("PEER " + json.dumps(answer), flush=True)
