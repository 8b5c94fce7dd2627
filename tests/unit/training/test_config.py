"""Settings: nothing wrong or unknown gets past them, and messages show the value."""

from __future__ import annotations

import dataclasses

import pytest
from stepaudit.harness.training import TrainingConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_steps": 0}, r"max_steps must be -1 \(none\) or at least 1, got 0"),
        ({"max_steps": -2}, "max_steps must be at least -1, got -2"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size must be at least 1, got 0"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps must be at least 1, got 0"),
        ({"num_train_epochs": 0}, "num_train_epochs must be a finite number above 0, got 0"),
        ({"num_train_epochs": float("nan")}, "num_train_epochs must be a finite number above 0, got nan"),
        ({"learning_rate": float("inf")}, "learning_rate must be a finite number at least 0, got inf"),
        (
            {"warmup_steps": 1.5},
            "warmup_steps must be a whole number of updates, or a share below 1, got 1.5",
        ),
        ({"adam_beta2": 1.0}, "adam_beta2 must be below 1, got 1.0"),
        ({"optim": "adamw_torch_fusd"}, "got 'adamw_torch_fusd'. Did you mean 'adamw_torch_fused'"),
        ({"lr_scheduler_type": "cosin"}, "got 'cosin'. Did you mean 'cosine'"),
        ({"kernel_backend": "tritn"}, "Did you mean 'triton'"),
        ({"bf16": True, "fp16": True}, "exclude each other"),
        ({"save_strategy": "steps"}, "save_strategy='steps' needs an output_dir, got None"),
        ({"packing": True}, "packing=True needs a max_length"),
        ({"lr_scheduler_type": "greedy"}, "follows eval_loss and needs an eval_strategy"),
    ],
)
def test_a_wrong_value_is_refused_and_shown(changes, message):
    """Each value out of range raises ValueError with the name and the value."""
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**changes)


@pytest.mark.parametrize(
    "changes",
    [{"max_steps": 2.0}, {"max_steps": True}, {"bf16": 1}, {"learning_rate": "1e-3"}, {"seed": None}],
)
def test_a_wrong_type_is_refused(changes):
    """A number is not a truth value, nor is a string a number."""
    with pytest.raises(TypeError, match=next(iter(changes))):
        TrainingConfig(**changes)


def test_an_unknown_setting_is_refused_with_the_nearest_name():
    """A dropped option would be another experiment than the one asked for."""
    with pytest.raises(ValueError, match=r"'max_step' = 3. Did you mean 'max_steps'"):
        TrainingConfig.from_mapping({"max_step": 3})


def test_settings_survive_a_round_trip_and_cannot_change():
    """`as_dict` and `from_mapping` are inverse; a config is frozen, its nested mapping too."""
    config = TrainingConfig(max_steps=3, lr_scheduler_kwargs={"num_cycles": 2}, warmup_steps=0.1)
    assert TrainingConfig.from_mapping(config.as_dict()) == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.max_steps = 4
    with pytest.raises(TypeError):
        config.lr_scheduler_kwargs["num_cycles"] = 3


def test_names_and_defaults_are_those_of_training_arguments():
    """Every setting that `TrainingArguments` has too has its default, but for saving, which is off."""
    from transformers import TrainingArguments

    theirs = {entry.name: entry.default for entry in dataclasses.fields(TrainingArguments)}
    ours = {entry.name: entry.default for entry in dataclasses.fields(TrainingConfig)}
    own = {"shuffle", "packing", "max_length", "kernel_backend"}
    assert set(ours) - set(theirs) == own
    differing = {
        name
        for name, default in ours.items()
        if name not in own
        and name != "lr_scheduler_kwargs"
        and (getattr(theirs[name], "value", theirs[name]) or None) != (default or None)
    }
    assert differing <= {"save_strategy", "optim"}
