"""Small models and rows for the training loop, and a record of what a run did."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

VOCAB = 61


def make_llama(*, seed: int = 1, dtype: torch.dtype = torch.float32, **changes):
    """A random Llama of a few thousand parameters with grouped-query heads."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    settings = {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "tie_word_embeddings": False,
    }
    return LlamaForCausalLM(LlamaConfig(**{**settings, **changes})).to(dtype)


def make_lora(*, seed: int = 1, dropout: float = 0.0, targets=None, **changes):
    """The same Llama with adapters whose B is not zero, so that every adapter has a gradient."""
    from peft import LoraConfig, get_peft_model

    names = targets or ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules=names, task_type="CAUSAL_LM")
    with warnings.catch_warnings():  # peft 0.21 asks transformers 5.23 by a name that is going away
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        model = get_peft_model(make_llama(seed=seed, **changes), config)
    torch.manual_seed(seed + 1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.05)
    return model


def make_rows(count: int, *, seed: int = 3, shortest: int = 4, longest: int = 12, masked: bool = True):
    """Ragged rows, a different number of labels in each."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(count):
        length = int(torch.randint(shortest, longest + 1, (1,), generator=generator))
        input_ids = torch.randint(1, VOCAB, (length,), generator=generator)
        labels = input_ids.clone()
        if masked:
            labels[: int(torch.randint(0, length - 1, (1,), generator=generator))] = -100
        rows.append({"input_ids": input_ids, "labels": labels})
    return rows


def digest(model: nn.Module) -> str:
    """Hash of every parameter's bits."""
    sha = hashlib.sha256()
    for parameter in model.parameters():
        sha.update(parameter.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()[:16]


@dataclass
class Record:
    """An event handler that keeps a ledger: (update, rows, lr, parameters) of each window."""

    model: nn.Module
    ledger: list = field(default_factory=list)
    events: list = field(default_factory=list)

    def __call__(self, event) -> None:
        from stepaudit.harness.training import WindowFinished

        self.events.append(event)
        if isinstance(event, WindowFinished):
            line = (event.global_step, event.rows, event.learning_rate, event.epoch, digest(self.model))
            self.ledger.append(line)


def hf_collate(rows):
    """Pad as the loop does."""
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(key, fill):
        return torch.stack(
            [nn.functional.pad(row[key], (0, longest - len(row[key])), value=fill) for row in rows]
        )

    rows = [{**row, "attention_mask": torch.ones_like(row["input_ids"])} for row in rows]
    return {
        "input_ids": padded("input_ids", 0),
        "labels": padded("labels", -100),
        "attention_mask": padded("attention_mask", 0),
    }


@pytest.fixture
def llama():
    return make_llama


@pytest.fixture
def lora():
    return make_lora


@pytest.fixture
def rows():
    return make_rows


@pytest.fixture
def record():
    return Record


@pytest.fixture
def bits():
    return digest


@pytest.fixture
def collate():
    return hf_collate
