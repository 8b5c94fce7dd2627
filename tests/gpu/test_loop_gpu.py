"""The loop on CUDA: a real-sized model beside `Trainer` (and Liger where installed), and what only a device shows."""

from __future__ import annotations

import gc
import importlib.util
import time

import pytest
import torch

pytestmark = pytest.mark.gpu

SMALL = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
REAL = {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 12, "num_attention_heads": 16}


def build(shape, *, seed=0):
    """A random Llama with a vocabulary of 32,000 on the device."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=32_000, num_key_value_heads=4, use_cache=False, **shape)
    return LlamaForCausalLM(config).cuda()


def rows(count, length, *, seed=1):
    """Rows of random tokens, every second one half as long."""
    generator = torch.Generator().manual_seed(seed)
    data = []
    for at in range(count):
        tokens = torch.randint(32_000, (length // (1 + at % 2),), generator=generator)
        data.append({"input_ids": tokens, "labels": tokens})
    return data


def collate(batch):
    """Pad as the loop does."""
    longest = max(len(row["input_ids"]) for row in batch)

    def fill(part, value):
        return torch.nn.functional.pad(part, (0, longest - len(part)), value=value)

    return {
        "input_ids": torch.stack([fill(row["input_ids"], 0) for row in batch]),
        "labels": torch.stack([fill(row["labels"], -100) for row in batch]),
        "attention_mask": torch.stack([fill(torch.ones_like(row["input_ids"]), 0) for row in batch]),
    }


def settings(**changes):
    """The same for every loop."""
    return {
        "max_steps": 8,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-4,
        "logging_steps": 1,
        "save_strategy": "no",
        **changes,
    }


def measured(train):
    """Log, seconds of all updates but the first two, and peak of allocated memory in bytes."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    ends = []

    def tick():
        torch.cuda.synchronize()
        ends.append(time.perf_counter())

    log = train(tick)
    return (
        [entry for entry in log if "loss" in entry],
        ends[-1] - ends[1],
        torch.cuda.max_memory_allocated() - before,
    )


def fused(model, data, **changes):
    """Train with the loop."""
    from stepaudit.harness.training import TrainingConfig, WindowFinished, fine_tune

    def train(tick):
        def watch(event):
            if isinstance(event, WindowFinished):
                tick()

        result = fine_tune(model, data, TrainingConfig(**settings(**changes)), on_event=watch)
        assert result.backend == ("none" if changes.get("kernel_backend") == "none" else "triton")
        return result.log_history

    return measured(train)


def trainer(model, data, folder, **changes):
    """Train with `Trainer`."""
    import transformers

    def train(tick):
        class Clock(transformers.TrainerCallback):
            def on_step_end(self, *_, **__):
                tick()

        arguments = transformers.TrainingArguments(
            output_dir=str(folder), report_to=[], disable_tqdm=True, **settings(**changes)
        )
        loop = transformers.Trainer(
            model=model, args=arguments, train_dataset=data, data_collator=collate, callbacks=[Clock()]
        )
        loop.train()
        return loop.state.log_history

    return measured(train)


def assert_same_log(ours, theirs, *, relative):
    """The same updates and rates; figures within `relative`."""
    for exact in ("step", "epoch", "learning_rate"):
        assert [entry[exact] for entry in ours] == [entry[exact] for entry in theirs]
    for close, name in (("window_mean_loss", "loss"), ("grad_norm", "grad_norm")):
        got, expected = ([entry[key] for entry in log] for log, key in ((ours, close), (theirs, name)))
        assert got == pytest.approx(expected, rel=relative)


def test_float32_training_equals_trainer(tmp_path, monkeypatch):
    """With the Triton kernels every logged figure is `Trainer`'s to float32 rounding, on padded rows too."""
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    data = rows(24, 128)
    ours, _, _ = fused(build(SMALL), data)
    theirs, _, _ = trainer(build(SMALL), data, tmp_path)
    assert_same_log(ours, theirs, relative=2e-4)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_real_sized_model_beside_trainer(precision, tmp_path, record_property):
    """Losses agree to half precision at every update; speed and memory ratios are recorded, not judged."""
    data = rows(64, 1024)
    ours, seconds, peak = fused(build(REAL), data, **{precision: True})
    theirs, their_seconds, their_peak = trainer(build(REAL), data, tmp_path, **{precision: True})
    assert len(ours) == 8
    assert [e["window_mean_loss"] for e in ours] == pytest.approx([e["loss"] for e in theirs], rel=2**-7)
    report(record_property, f"{precision} beside Trainer", their_seconds / seconds, peak / their_peak)


@pytest.mark.skipif(importlib.util.find_spec("liger_kernel") is None, reason="liger_kernel is not installed")
def test_a_real_sized_model_beside_liger(record_property):
    """The same loop with Liger's kernels in the model and with ours: equal losses; ratios are recorded."""
    from liger_kernel.transformers import apply_liger_kernel_to_llama

    data = rows(64, 1024)
    ours, seconds, peak = fused(build(REAL), data, bf16=True)
    model = build(REAL)
    apply_liger_kernel_to_llama(model=model)
    theirs, their_seconds, their_peak = fused(model, data, bf16=True, kernel_backend="none")
    assert [e["loss"] for e in ours] == pytest.approx([e["loss"] for e in theirs], rel=2**-7)
    report(record_property, "bf16 beside Liger", their_seconds / seconds, peak / their_peak)


def report(record_property, name, speed, memory):
    """Leave the ratios in the JUnit file and on the terminal."""
    record_property("speed_ratio", speed)
    record_property("peak_memory_ratio", memory)
    print(f"{name}: {speed:.2f}x the speed at {memory:.2f}x the peak memory")


def test_packed_rows_train_like_rows_apart():
    """Variable-length attention on the device: loss and gradients of a pack are those of its rows one by one."""
    from stepaudit.harness.training import fuse
    from stepaudit.harness.training.collation import PackedCollator

    data, model = rows(5, 96), build(SMALL).bfloat16()
    total = sum(len(row["labels"]) - 1 for row in data)
    fuse(model)

    def gradient():
        norm = torch.stack([p.grad.float().norm() for p in model.parameters()]).norm().item()
        model.zero_grad()
        return norm

    losses = []
    for row in data:
        ids = row["input_ids"].cuda()[None]
        loss = model(input_ids=ids, labels=ids, num_items_in_batch=total).loss
        loss.backward()
        losses.append(loss.item())
    apart = sum(losses), gradient()
    inputs = PackedCollator(max_length=None)(list(enumerate(data))).inputs
    loss = model(**{key: value.cuda() for key, value in inputs.items()}, num_items_in_batch=total).loss
    loss.backward()
    assert (loss.item(), gradient()) == pytest.approx(apart, rel=2**-6)


def test_a_resumed_run_follows_the_uninterrupted_one(tmp_path):
    """Windows and rates are the same; losses to the rounding of sums whose order the device does not fix."""
    from stepaudit.harness.training import TrainingConfig, WindowFinished, fine_tune

    def run(**resume):
        events = []
        config = TrainingConfig(
            **settings(save_strategy="steps", save_steps=3, output_dir=str(tmp_path), fp16=True)
        )
        fine_tune(build(SMALL), rows(24, 128), config, on_event=events.append, **resume)
        return [event for event in events if isinstance(event, WindowFinished)]

    whole, rest = run(), run(resume_from=tmp_path / "checkpoint-3")
    assert [(w.rows, w.learning_rate) for w in rest] == [(w.rows, w.learning_rate) for w in whole[3:]]
    assert [w.loss for w in rest] == pytest.approx([w.loss for w in whole[3:]], rel=1e-3)
