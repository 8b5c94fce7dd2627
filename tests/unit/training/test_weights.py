"""What every update is made of: each label token of a window weighs 1/N, whatever the model does with N."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stepaudit.harness.training import TrainingConfig, WindowFinished, fine_tune
from torch import nn
from transformers.modeling_outputs import CausalLMOutput


class Tracer(nn.Module):
    """One parameter a row; its gradient is minus (label tokens of the row) x (weight of each)."""

    def __init__(self, rows: int):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(rows, dtype=torch.float64))

    def loss(self, input_ids, labels, divisor):
        counted = labels[:, 1:] != -100
        total = -(self.w[input_ids[:, :1]] * counted).sum()
        return CausalLMOutput(loss=total / (counted.sum() if divisor is None else divisor))


class Honouring(Tracer):
    def forward(self, input_ids, labels, num_items_in_batch=None):
        return self.loss(input_ids, labels, num_items_in_batch)


class TakingAnything(Tracer):
    def forward(self, input_ids, labels, **kwargs):
        return self.loss(input_ids, labels, kwargs.get("num_items_in_batch"))


class Ignoring(Tracer):
    def forward(self, input_ids, labels, **kwargs):
        return self.loss(input_ids, labels, None)


class Plain(Tracer):
    def forward(self, input_ids, labels):
        return self.loss(input_ids, labels, None)


MODELS = (Honouring, TakingAnything, Ignoring, Plain)


def ledger_rows(label_counts):
    """Row i has its number as token 0 and `label_counts[i]` labels after the shift."""
    rows = []
    for number, count in enumerate(label_counts):
        labels = torch.full((6,), -100)
        labels[0] = 1  # dropped by the shift
        labels[1 : 1 + count] = 1
        rows.append({"input_ids": torch.tensor([number, 0, 0, 0, 0, 0]), "labels": labels})
    return rows


def gradients_of(model, rows, config):
    """The gradient that each update got, and the events."""
    seen, events = [], []

    def spy(event):
        events.append(event)

    from torch.optim.optimizer import register_optimizer_step_pre_hook

    handle = register_optimizer_step_pre_hook(
        lambda *_: seen.append(None if model.w.grad is None else model.w.grad.clone())
    )
    try:
        fine_tune(model, rows, config, on_event=spy)
    finally:
        handle.remove()
    return seen, [event for event in events if isinstance(event, WindowFinished)]


@pytest.mark.parametrize("kind", MODELS)
@given(
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=9),
    batch=st.integers(1, 3),
    accumulation=st.integers(1, 4),
    drop_last=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_every_label_token_of_a_window_weighs_the_same(kind, counts, batch, accumulation, drop_last):
    """Entry i of the gradient is -(tokens of row i)/N, for rows of the window, and 0 for all others: nothing leaks."""
    rows = ledger_rows(counts)
    if drop_last and len(rows) < batch:
        return
    config = TrainingConfig(
        num_train_epochs=2,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        dataloader_drop_last=drop_last,
        optim="sgd",
        learning_rate=0.0,
        max_grad_norm=0.0,
    )
    model = kind(len(rows))
    seen, windows = gradients_of(model, rows, config)
    assert len(seen) == len(windows)
    for gradient, window in zip(seen, windows, strict=True):
        numbers = [number for batch_rows in window.rows for number in batch_rows]
        total = sum(counts[number] for number in numbers)
        assert window.label_tokens == total
        expected = [Fraction(0)] * len(rows)
        for number in numbers:
            expected[number] = -Fraction(counts[number], max(total, 1))
        got = torch.zeros(len(rows), dtype=torch.float64) if gradient is None else gradient
        assert torch.allclose(
            got, torch.tensor([float(part) for part in expected], dtype=torch.float64), rtol=1e-14
        )


def test_each_epoch_reads_every_row_once():
    """Windows of two epochs partition the rows twice, in two different orders."""
    model = Honouring(11)
    config = TrainingConfig(num_train_epochs=2, per_device_train_batch_size=2, gradient_accumulation_steps=3)
    _, windows = gradients_of(model, ledger_rows([3] * 11), config)
    read = [number for window in windows for batch in window.rows for number in batch]
    assert sorted(read[:11]) == sorted(read[11:]) == list(range(11))
    assert read[:11] != read[11:]


@pytest.mark.parametrize("kind", MODELS)
def test_windows_without_labels_leave_no_nan(kind):
    """A window without a label token has loss 0 and gradient 0, and the run goes on."""
    model = kind(4)
    config = TrainingConfig(num_train_epochs=2, per_device_train_batch_size=1, logging_steps=1, shuffle=False)
    result = fine_tune(model, ledger_rows([0, 2, 0, 0]), config)
    assert result.global_step == 8
    assert torch.isfinite(model.w).all()
    assert [entry["loss"] for entry in result.log_history[:1]] == [0.0]
    assert [entry["num_label_tokens"] for entry in result.log_history[:-1]] == [0, 2, 0, 0] * 2


def test_a_model_without_a_loss_is_refused():
    """The message names the model and what it returned."""

    class Silent(Tracer):
        def forward(self, input_ids, labels, num_items_in_batch=None):
            return CausalLMOutput()

    with pytest.raises(TypeError, match="Silent returned no scalar loss"):
        fine_tune(Silent(2), ledger_rows([1, 1]), TrainingConfig(max_steps=1))


def test_extra_keys_reach_only_a_forward_that_names_them():
    """`row_id` is handed over by name, never through `**kwargs`."""
    seen = []

    class Naming(Tracer):
        def forward(self, input_ids, labels, row_id, num_items_in_batch=None):
            seen.extend(row_id.tolist())
            return self.loss(input_ids, labels, num_items_in_batch)

    class Taking(Tracer):
        def forward(self, input_ids, labels, **kwargs):
            assert set(kwargs) <= {"attention_mask"}
            return self.loss(input_ids, labels, None)

    rows = [{**row, "row_id": number, "note": "text"} for number, row in enumerate(ledger_rows([1, 2, 3]))]
    config = TrainingConfig(num_train_epochs=1, per_device_train_batch_size=2, shuffle=False)
    fine_tune(Naming(3), rows, config)
    fine_tune(Taking(3), rows, config)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("A", [1, 2, 3])
def test_the_logged_loss_is_the_token_mean_since_the_last_log(A, llama, rows):
    """`loss` weighs tokens, `window_mean_loss` weighs windows; both follow from the windows' own figures."""
    events = []
    config = TrainingConfig(
        max_steps=7, per_device_train_batch_size=2, gradient_accumulation_steps=A, logging_steps=3
    )
    result = fine_tune(llama(), rows(9), config, on_event=events.append)
    windows = [event for event in events if isinstance(event, WindowFinished)]
    entries = [entry for entry in result.log_history if "loss" in entry]
    assert [entry["step"] for entry in entries] == [3, 6]
    for entry, part in zip(entries, (windows[:3], windows[3:6]), strict=True):
        tokens = sum(window.label_tokens for window in part)
        assert entry["num_label_tokens"] == tokens
        assert entry["loss"] == pytest.approx(sum(w.loss * w.label_tokens for w in part) / tokens, rel=1e-12)
        assert entry["window_mean_loss"] == pytest.approx(sum(w.loss for w in part) / 3, rel=1e-12)
        assert entry["grad_norm"] == part[-1].grad_norm
        assert entry["learning_rate"] == part[-1].learning_rate
    tokens = sum(window.label_tokens for window in windows)
    assert result.train_loss == pytest.approx(
        sum(w.loss * w.label_tokens for w in windows) / tokens, rel=1e-12
    )


def test_tokens_seen_exclude_padding(llama, rows):
    """The claim counts tokens of the rows read, not of the padded micro-batches."""
    data = rows(9)
    result = fine_tune(llama(), data, TrainingConfig(num_train_epochs=2, per_device_train_batch_size=4))
    assert result.num_input_tokens_seen == 2 * sum(len(row["input_ids"]) for row in data)
