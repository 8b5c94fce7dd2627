"""Rows into micro-batches: padding, packing, iterable data, and what is refused."""

from __future__ import annotations

import pytest
import torch
from stepaudit.harness.training import TrainingConfig, WindowFinished, fine_tune
from stepaudit.harness.training.collation import PackedCollator
from torch.utils.data import Dataset, IterableDataset


class Stream(IterableDataset):
    """Rows without a length."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


class Drawing(Dataset):
    """Reading a row draws random numbers."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, at):
        torch.rand(3)
        return self.rows[at]


def windows_of(model, data, **changes):
    events = []
    config = TrainingConfig(
        per_device_train_batch_size=2, gradient_accumulation_steps=2, logging_steps=1, **changes
    )
    result = fine_tune(model, data, config, on_event=events.append)
    return result, [event for event in events if isinstance(event, WindowFinished)]


def test_a_stream_steps_its_remainder_and_starts_again(llama, rows):
    """Seven rows without a length: two windows of two micro-batches an epoch, the last one short."""
    result, windows = windows_of(llama(), Stream(rows(7)), max_steps=5)
    epoch = [((0, 1), (2, 3)), ((4, 5), (6,))]
    assert [window.rows for window in windows] == [*epoch, *epoch, epoch[0]]
    assert result.global_step == 5


def test_the_epoch_of_a_stream_is_true_once_its_length_is_known(llama, rows):
    """In the first pass the claim is the number of the pass; then it counts by the length seen in the first."""
    _, windows = windows_of(llama(), Stream(rows(7)), max_steps=5)
    assert [window.epoch for window in windows][2:] == [1.5, 2.0, 2.5]
    assert [window.epoch for window in windows][:2] == [1, 1]


def test_a_dropped_rest_of_a_stream_is_not_trained_on(llama, rows):
    """`dataloader_drop_last` holds for streams too."""
    _, windows = windows_of(llama(), Stream(rows(7)), max_steps=4, dataloader_drop_last=True)
    assert [window.rows for window in windows] == [((0, 1), (2, 3)), ((4, 5),)] * 2


def test_an_empty_stream_is_an_error(llama):
    """No row at all can't be trained on until max_steps."""
    with pytest.raises(ValueError, match="epoch 0 gave no micro-batch after 0 updates"):
        windows_of(llama(), Stream([]), max_steps=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_steps": 2, "packing": True, "max_length": 8}, "packing=True needs a map-style dataset"),
        ({"max_steps": 2, "dataloader_num_workers": 1}, "read in this process, got 1 workers"),
        ({}, "no length, so max_steps must be positive"),
    ],
)
def test_what_a_stream_cannot_do_is_refused(changes, message, llama, rows):
    """Each restriction is said before training begins."""
    with pytest.raises(ValueError, match=message):
        windows_of(llama(), Stream(rows(4)), **changes)


def test_packed_rows_train_like_rows_apart(llama, rows):
    """Packing changes neither the loss of any token nor any gradient: attention and positions stay in the row."""
    from stepaudit.harness.training import fuse

    data = rows(5, longest=9, masked=False)  # a first label is there to be masked
    model = llama(dtype=torch.float64)
    total = sum(int((row["labels"][1:] != -100).sum()) for row in data)
    fuse(model)
    for row in data:
        ids, labels = row["input_ids"][None], row["labels"][None]
        model(input_ids=ids, labels=labels, num_items_in_batch=total).loss.backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    packed = PackedCollator(max_length=None)(list(enumerate(data)))
    assert packed.label_tokens == total
    model(**packed.inputs, num_items_in_batch=total).loss.backward()
    got = {name: parameter.grad for name, parameter in model.named_parameters()}
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kernel_backend", ["auto", "none"])
def test_a_packed_epoch_reads_every_row_once(kernel_backend, llama, rows):
    """Windows of packs hold every row once an epoch, and the plan counts packs, not rows."""
    result, windows = windows_of(
        llama(), rows(11), num_train_epochs=1, packing=True, max_length=24, kernel_backend=kernel_backend
    )
    read = [row for window in windows for batch in window.rows for row in batch]
    assert sorted(read) == list(range(11))
    assert result.global_step == result.max_steps == len(windows)
    assert len(windows) < 3  # three windows of four rows without packing


def test_packing_gives_the_same_update_with_and_without_kernels(llama, rows):
    """transformers reads the documents from the positions, the kernels from their bounds: the same gradients."""
    runs = []
    for kernel_backend in ("auto", "none"):
        result, _ = windows_of(
            llama(), rows(11), max_steps=3, packing=True, max_length=24, kernel_backend=kernel_backend
        )
        runs.append([(entry["loss"], entry["grad_norm"]) for entry in result.log_history[:-1]])
    assert runs[0] == [pytest.approx(pair, rel=1e-4) for pair in runs[1]]


def test_rows_are_cut_to_max_length(llama, rows):
    """A longer row loses its end, tokens and labels alike."""
    result, _ = windows_of(llama(), rows(8, shortest=10), num_train_epochs=1, max_length=5)
    assert result.num_input_tokens_seen == 8 * 5


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"input_ids": [1, 2]}, r"row 0 has no 'labels', its keys are \['input_ids'\]"),
        ({"input_ids": [1, 2], "labels": [1]}, "needs sequences of one equal length"),
        ({"input_ids": [], "labels": []}, "needs sequences of one equal length above 0"),
    ],
)
def test_a_bad_row_is_named(row, message, llama):
    """The message says which row, and what is wrong with it."""
    with pytest.raises(ValueError, match=message):
        windows_of(llama(), [row], max_steps=1)


def test_no_rows_are_an_error(llama):
    """An empty dataset is refused with its type."""
    with pytest.raises(ValueError, match="dataset list has no rows"):
        windows_of(llama(), [], max_steps=1)


def test_masks_inside_a_row_are_kept(llama, rows):
    """A mask that says more than padding on the right reaches the model: the loss differs from the one without."""
    data = rows(2, shortest=6, longest=6)
    holes = [{**row, "attention_mask": torch.tensor([0, 0, 1, 1, 1, 1])} for row in data]
    plain, _ = windows_of(llama(), data, max_steps=1, shuffle=False)
    masked, _ = windows_of(llama(), holes, max_steps=1, shuffle=False)
    own, _ = windows_of(llama(), holes, max_steps=1, shuffle=False, kernel_backend="none")
    losses = [run.log_history[0]["loss"] for run in (plain, masked, own)]
    assert losses[1] == pytest.approx(losses[2], rel=1e-5)
    assert abs(losses[0] - losses[1]) > 1e-4
    assert masked.num_input_tokens_seen == 8


def test_workers_read_the_same_rows(llama, rows, bits):
    """Reading in other processes changes nothing, not even a bit."""
    models = [llama(), llama()]
    for model, workers in zip(models, (0, 1), strict=True):
        windows_of(model, rows(6), num_train_epochs=1, dataloader_num_workers=workers)
    assert bits(models[0]) == bits(models[1])


def test_evaluation_is_the_token_mean_and_disturbs_nothing(lora, rows, bits):
    """With dropout on, a run with evaluation ends with the very bits of one without; its loss weighs tokens."""
    data, held_out = rows(6), Drawing(rows(5, seed=9))
    models = [lora(dropout=0.2), lora(dropout=0.2)]
    config = {"max_steps": 4, "per_device_eval_batch_size": 2}
    windows_of(models[0], data, **config)
    events: list = []
    settings = TrainingConfig(
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=3,
        **config,
    )
    result = fine_tune(models[1], data, settings, eval_dataset=held_out, on_event=events.append)
    assert bits(models[0]) == bits(models[1])
    entries = [entry for entry in result.log_history if "eval_loss" in entry]
    assert [entry["step"] for entry in entries] == [3, 4]
    models[1].eval()
    sums, tokens = 0.0, 0
    for row in held_out.rows:
        count = int((row["labels"][1:] != -100).sum())
        with torch.no_grad():
            out = models[1](
                input_ids=row["input_ids"][None], labels=row["labels"][None], num_items_in_batch=1
            )
        sums, tokens = sums + out.loss.item(), tokens + count
    assert entries[-1]["eval_loss"] == pytest.approx(sums / tokens, rel=1e-5)
    assert entries[-1]["eval_label_tokens"] == tokens


def test_evaluation_without_rows_is_refused(llama, rows):
    """A cadence without data, and data without rows, are errors."""
    with pytest.raises(ValueError, match="eval_strategy='epoch' needs an eval_dataset, got None"):
        fine_tune(llama(), rows(2), TrainingConfig(max_steps=1, eval_strategy="epoch"))
    with pytest.raises(ValueError, match="evaluation dataset needs rows"):
        fine_tune(llama(), rows(2), TrainingConfig(max_steps=1, eval_strategy="epoch"), eval_dataset=[])
