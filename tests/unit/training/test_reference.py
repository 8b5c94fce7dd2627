"""The loop beside the real `Trainer`: the same rows, rates, losses, norms and parameters, update by update."""

from __future__ import annotations

import pytest
import torch
from stepaudit.harness.training import TrainingConfig, fine_tune

#: Two float32 summation orders of the same sum differ by some units of 6e-8 relative, but AdamW's first updates are
#: lr * sign(gradient) nearly, whatever its size: where a gradient is rounding noise, a parameter goes another way by
#: lr=1e-3, and the figures of the next updates feel it.
FIGURE = 1e-4
PARAMETER = 2e-4

CASES = {
    "even": {"rows": 16, "B": 2, "A": 2, "num_train_epochs": 2},
    "remainder window": {"rows": 13, "B": 2, "A": 4, "num_train_epochs": 2},
    "short last batch": {"rows": 9, "B": 2, "A": 2, "num_train_epochs": 3},
    "fewer batches than a window": {"rows": 3, "B": 1, "A": 8, "num_train_epochs": 2},
    "dropped rest": {"rows": 9, "B": 2, "A": 3, "num_train_epochs": 2, "dataloader_drop_last": True},
    "half an epoch": {"rows": 10, "B": 2, "A": 2, "num_train_epochs": 0.5},
    "an epoch and a half": {"rows": 10, "B": 2, "A": 2, "num_train_epochs": 1.5},
    "updates over epochs": {"rows": 9, "B": 2, "A": 2, "max_steps": 7, "num_train_epochs": 1},
    "another data seed": {"rows": 9, "B": 2, "A": 2, "max_steps": 4, "data_seed": 7},
    "no clipping": {"rows": 8, "B": 2, "A": 2, "max_steps": 3, "max_grad_norm": 0.0},
    "hard clipping": {"rows": 8, "B": 2, "A": 2, "max_steps": 3, "max_grad_norm": 0.05},
    "weight decay": {"rows": 8, "B": 2, "A": 2, "max_steps": 4, "weight_decay": 0.3},
    "plain adamw": {"rows": 8, "B": 2, "A": 2, "max_steps": 3, "optim": "adamw_torch"},
    "sgd": {"rows": 8, "B": 2, "A": 2, "max_steps": 3, "optim": "sgd"},
    "adafactor": {"rows": 8, "B": 2, "A": 2, "max_steps": 3, "optim": "adafactor"},
    "own code": {"rows": 8, "B": 2, "A": 2, "max_steps": 3, "kernel_backend": "none"},
    "recomputed": {"rows": 8, "B": 2, "A": 2, "max_steps": 3, "gradient_checkpointing": True},
    "tied head": {"rows": 8, "B": 2, "A": 2, "max_steps": 3, "model": {"tie_word_embeddings": True}},
    "biased": {
        "rows": 8,
        "B": 2,
        "A": 2,
        "max_steps": 3,
        "model": {"attention_bias": True, "mlp_bias": True},
    },
    "cosine with share of warm-up": {
        "rows": 8,
        "B": 2,
        "A": 2,
        "max_steps": 9,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.3,
    },
    "every second update logged": {"rows": 9, "B": 2, "A": 2, "max_steps": 7, "logging_steps": 2},
    "logged by epoch": {"rows": 9, "B": 2, "A": 2, "max_steps": 7, "logging_strategy": "epoch"},
}


def run_hf(model, rows, collate, settings, folder):
    """Train with `Trainer`; returns its log and the rows of each window."""
    import transformers

    windows: list[list[list[list[int]]]] = [[]]

    class Watch(transformers.TrainerCallback):
        def on_optimizer_step(self, *_, **__):
            windows.append([])

    def forward(_, __, kwargs):
        mask = kwargs["attention_mask"]
        windows[-1].append(
            [row[keep.bool()].tolist() for row, keep in zip(kwargs["input_ids"], mask, strict=True)]
        )

    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    handle = inner.register_forward_pre_hook(forward, with_kwargs=True)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), report_to=[], disable_tqdm=True, use_cpu=True, save_strategy="no", **settings
    )
    trainer = transformers.Trainer(
        model=model, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[Watch()]
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    handle.remove()
    return trainer.state.log_history, windows[:-1]


def split(case):
    """Parts of a case: rows, changes of the model, the loop's settings, those of `Trainer`."""
    case = {"learning_rate": 1e-3, "logging_steps": 1, **case}
    case["per_device_train_batch_size"], case["gradient_accumulation_steps"] = case.pop("B"), case.pop("A")
    count, changes = case.pop("rows"), case.pop("model", {})
    theirs = {key: value for key, value in case.items() if key != "kernel_backend"}
    if theirs.pop("gradient_checkpointing", False):
        theirs["activation_checkpointing"] = True
    return count, changes, case, theirs


def assert_same_run(result, record, rows, hf_log, hf_windows):
    """Windows and rates equal, figures to rounding; the set of entries first."""
    ours = [[[rows[at]["input_ids"].tolist() for at in batch] for batch in line[1]] for line in record.ledger]
    assert ours == hf_windows
    entries = [entry for entry in result.log_history if "loss" in entry]
    theirs = [entry for entry in hf_log if "loss" in entry]
    for exact in ("step", "epoch", "learning_rate"):
        assert [entry[exact] for entry in entries] == [entry[exact] for entry in theirs]
    for close, name in (("window_mean_loss", "loss"), ("grad_norm", "grad_norm")):
        torch.testing.assert_close(
            torch.tensor([entry[close] for entry in entries]),
            torch.tensor([entry[name] for entry in theirs]),
            rtol=FIGURE,
            atol=0,
        )
    final = hf_log[-1]
    assert (result.global_step, result.epoch) == (final["step"], final["epoch"])


@pytest.mark.parametrize("name", CASES)
def test_full_training_equals_trainer(name, llama, rows, collate, record, tmp_path):
    """Same windows and rates exactly; losses, norms and final parameters to float32 rounding."""
    count, changes, ours, theirs = split(CASES[name])
    data, model, reference = rows(count), llama(**changes), llama(**changes)
    watch = record(model)
    result = fine_tune(model, data, TrainingConfig(**ours), on_event=watch)
    log, windows = run_hf(reference, data, collate, theirs, tmp_path)
    assert_same_run(result, watch, data, log, windows)
    torch.testing.assert_close(model.state_dict(), reference.state_dict(), rtol=0, atol=PARAMETER)
    assert bool(result.kernels) == (ours.get("kernel_backend") != "none")


@pytest.mark.parametrize("targets", [None, ["q_proj", "v_proj"]], ids=["all layers", "q and v"])
def test_lora_training_equals_trainer(targets, lora, rows, collate, record, tmp_path):
    """Adapters trained with the fused kernels end where PEFT's own code takes them; the base does not move."""
    data, model, reference = rows(9), lora(targets=targets), lora(targets=targets)
    base = {name: value.clone() for name, value in model.named_parameters() if not value.requires_grad}
    _, _, ours, theirs = split({"rows": 9, "B": 2, "A": 2, "max_steps": 6})
    watch = record(model)
    result = fine_tune(model, data, TrainingConfig(**ours), on_event=watch)
    log, windows = run_hf(reference, data, collate, theirs, tmp_path)
    assert_same_run(result, watch, data, log, windows)
    torch.testing.assert_close(
        dict(model.named_parameters()), dict(reference.named_parameters()), rtol=0, atol=PARAMETER
    )
    for name, value in model.named_parameters():
        if name in base:
            assert torch.equal(value, base[name])
    expected = {"lora_linear", "lora_mlp", "lora_qkv"} if targets is None else {"lora_linear"}
    assert {kernel for kernel in result.kernels if "lora" in kernel} == expected


def test_bf16_autocast_equals_trainer(llama, rows, collate, record, tmp_path):
    """Under bfloat16 autocast the first losses agree to the eight bits that bfloat16 keeps."""
    _, _, ours, theirs = split({"rows": 8, "B": 2, "A": 2, "max_steps": 4, "bf16": True})
    data, model, reference = rows(8), llama(), llama()
    result = fine_tune(model, data, TrainingConfig(**ours), on_event=record(model))
    log, _ = run_hf(reference, data, collate, theirs, tmp_path)
    for entry, other in zip(result.log_history[:-1], log[:-1], strict=True):
        assert entry["learning_rate"] == other["learning_rate"]
        assert entry["loss"] == pytest.approx(other["loss"], rel=2**-8)
        assert entry["grad_norm"] == pytest.approx(other["grad_norm"], rel=2**-5)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("linear", {}),
        ("cosine", {}),
        ("cosine", {"num_cycles": 1.5}),
        ("cosine_with_restarts", {"num_cycles": 2}),
        ("polynomial", {"lr_end": 1e-6, "power": 2.0}),
        ("constant", {}),
        ("constant_with_warmup", {}),
        ("inverse_sqrt", {}),
        ("cosine_with_min_lr", {"min_lr_rate": 0.1}),
        ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.1}),
        ("warmup_stable_decay", {"num_decay_steps": 3}),
    ],
)
@pytest.mark.parametrize("warmup", [0, 3, 0.25])
def test_every_schedule_uses_the_rate_of_its_update(name, kwargs, warmup, record, rows):
    """Update k uses base * f(k - 1): the rates equal those of transformers' schedule advanced by hand."""
    from transformers import get_scheduler

    model = Linear()
    watch = record(model)
    config = TrainingConfig(
        max_steps=8,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        lr_scheduler_type=name,
        lr_scheduler_kwargs=kwargs,
        warmup_steps=warmup,
    )
    fine_tune(model, rows(6), config, on_event=watch)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-2)
    scheduler = get_scheduler(
        name,
        optimizer,
        num_warmup_steps=2 if warmup == 0.25 else warmup,
        num_training_steps=8,
        scheduler_specific_kwargs=kwargs,
    )
    expected = []
    for _ in range(8):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert [line[2] for line in watch.ledger] == expected


class Linear(torch.nn.Module):
    """The least model that returns a loss."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, input_ids, labels, num_items_in_batch=None):
        from transformers.modeling_outputs import CausalLMOutput

        return CausalLMOutput(loss=(labels[:, 1:] != -100).sum() * self.weight.sum() / num_items_in_batch)


def test_a_schedule_that_refuses_its_settings_says_which(rows):
    """A misspelt schedule argument is an error that shows name and value."""
    config = TrainingConfig(max_steps=1, lr_scheduler_type="cosine", lr_scheduler_kwargs={"cycles": 2})
    with pytest.raises(ValueError, match=r"'cosine' refuses lr_scheduler_kwargs=\{'cycles': 2\}"):
        fine_tune(Linear(), rows(2), config)


def test_a_rate_on_plateau_falls_when_the_evaluation_loss_does_not(llama, rows, record):
    """`reduce_lr_on_plateau` advances after evaluations, not after updates."""
    model = llama()
    watch = record(model)
    config = TrainingConfig(
        max_steps=6,
        per_device_train_batch_size=2,
        learning_rate=1e-3,
        lr_scheduler_type="reduce_lr_on_plateau",
        lr_scheduler_kwargs={"patience": 0, "threshold": 0.5},
        eval_strategy="steps",
        eval_steps=2,
    )
    fine_tune(model, rows(8), config, eval_dataset=rows(3, seed=9), on_event=watch)
    rates = [line[2] for line in watch.ledger]
    assert rates == pytest.approx([1e-3] * 4 + [1e-4] * 2)
