"""Loss scaling and clipping: a suppressed update is no update, and clipping sees true gradients."""

from __future__ import annotations

import pytest
import torch
from stepaudit.harness.training import TrainingConfig, WindowFinished, fine_tune
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers.modeling_outputs import CausalLMOutput


class Overflowing(nn.Module):
    """Its gradient overflows in the forwards whose number is in `bad`."""

    def __init__(self, bad):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))
        self.calls, self.bad = 0, bad

    def forward(self, input_ids, labels, num_items_in_batch=None):
        self.calls += 1
        factor = float("inf") if self.calls - 1 in self.bad else 2.0
        return CausalLMOutput(loss=(self.w * factor).sum())


def run(model, resume_from=None, **changes):
    settings = {"per_device_train_batch_size": 1, "fp16": True, "learning_rate": 0.1, "logging_steps": 1}
    events, rows = [], [{"input_ids": torch.tensor([1, 2]), "labels": torch.tensor([1, 2])}] * 4
    result = fine_tune(
        model,
        rows,
        TrainingConfig(**{**settings, **changes}),
        resume_from=resume_from,
        on_event=events.append,
    )
    return result, [event for event in events if isinstance(event, WindowFinished)]


@pytest.mark.parametrize("optim", ["adamw_torch_fused", "adamw_torch", "sgd"])
def test_a_suppressed_update_is_not_counted_and_moves_nothing(optim):
    """Parameters, global_step and schedule stand still at an overflow; max_steps updates are made all the same."""
    model = Overflowing({1, 2})
    seen = []
    handle = register_optimizer_step_post_hook(lambda *_: seen.append(model.w.tolist()))
    result, windows = run(model, max_steps=5, optim=optim)
    handle.remove()
    assert [window.updated for window in windows] == [True, False, False, True, True, True, True]
    assert [window.global_step for window in windows] == [1, 1, 1, 2, 3, 4, 5]
    made = [window.learning_rate for window in windows if window.updated]
    assert made == pytest.approx([0.1 * (1 - k / 5) for k in range(5)])
    assert (result.global_step, result.skipped, len(seen)) == (5, 2, 5)
    assert [entry["step"] for entry in result.log_history[:-1]] == [1, 2, 3, 4, 5]
    assert result.epoch == 7 / 4


def test_epochs_asked_for_are_epochs_of_data():
    """Without max_steps a suppressed update is not made up for: the data were seen, the updates are fewer."""
    result, windows = run(Overflowing({1}), num_train_epochs=2)
    assert len(windows) == result.max_steps == 8
    assert (result.global_step, result.skipped, result.epoch) == (7, 1, 2.0)


def test_a_loss_that_never_becomes_finite_ends_the_run():
    """Forty overflows in a row are an error with the scale reached, not an endless run."""
    with pytest.raises(RuntimeError, match=r"40 updates in a row overflowed in float16, .* loss scale"):
        run(Overflowing(set(range(1000))), max_steps=5)


def test_clipping_follows_unscaling():
    """The logged norm is that of the true gradient, and SGD moves by lr * max_grad_norm, whatever the loss scale."""
    model = Overflowing(set())
    _, windows = run(model, max_steps=1, optim="sgd", max_grad_norm=0.5)
    assert windows[0].grad_norm == pytest.approx(2 * 3**0.5)
    assert (1 - model.w).norm().item() == pytest.approx(0.1 * 0.5, rel=1e-4)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_training_follows_float32(precision, llama, rows):
    """Losses stay within some units of the half-precision grid of the float32 run's."""
    config = {"max_steps": 4, "per_device_train_batch_size": 2, "logging_steps": 1, "learning_rate": 1e-3}
    full = fine_tune(llama(), rows(8), TrainingConfig(**config))
    half = fine_tune(llama(), rows(8), TrainingConfig(**config, **{precision: True}))
    grid = 2**-10 if precision == "fp16" else 2**-7
    for entry, other in zip(half.log_history[:-1], full.log_history[:-1], strict=True):
        assert entry["loss"] == pytest.approx(other["loss"], rel=4 * grid)
        assert entry["learning_rate"] == other["learning_rate"]
    assert half.skipped == 0


class Steep(nn.Module):
    """Its gradient, 1e34, overflows float32 at the first loss scale (2**16) and not at the next one (2**15)."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))

    def forward(self, input_ids, labels, num_items_in_batch=None):
        return CausalLMOutput(loss=(self.w * 1e34).sum())


def test_the_loss_scale_is_resumed(tmp_path):
    """A resumed run goes on at the scale that was found, and does not overflow again to find it."""
    changes = {"num_train_epochs": 1, "save_strategy": "steps", "save_steps": 1, "output_dir": str(tmp_path)}
    whole, _ = run(Steep(), **changes)
    assert (whole.global_step, whole.skipped) == (3, 1)
    resumed, windows = run(Steep(), resume_from=tmp_path / "checkpoint-1", **changes)
    assert [window.updated for window in windows] == [True, True]
    assert (resumed.global_step, resumed.skipped) == (3, 1)


def test_float16_parameters_cannot_be_scaled(llama, rows):
    """fp16=True keeps float32 parameters; a float16 model is refused before the first forward."""
    with pytest.raises(ValueError, match="fp16=True needs float32 parameters"):
        fine_tune(llama(dtype=torch.float16), rows(2), TrainingConfig(max_steps=1, fp16=True))


def test_a_frozen_model_is_refused(llama, rows):
    """Nothing to train is an error, not a run without effect."""
    model = llama().requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter that requires a gradient"):
        fine_tune(model, rows(2), TrainingConfig(max_steps=1))
