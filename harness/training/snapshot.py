"""A run's state into a checkpoint, and back into a run that has just been set up the same way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from .checkpoint import (
    Checkpoint,
    checkpoints,
    keep_newest,
    load_checkpoint,
    load_optimizer,
    optimizer_parts,
    save_checkpoint,
)
from .config import FREE_ON_RESUME, TrainingConfig
from .losses import innermost
from .progress import Progress
from .randomness import RandomState

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from .plan import TrainingPlan
    from .precision import Precision
    from .ranks import Ranks
    from .schedule import Schedule


def save_run(
    output_dir: Path,
    *,
    model: nn.Module,
    optimizer: Optimizer,
    schedule: Schedule,
    precision: Precision,
    config: TrainingConfig,
    plan: TrainingPlan,
    progress: Progress,
    ranks: Ranks,
) -> Path:
    """Save a run so that it can go on exactly from here.

    Args:
        output_dir: Gets ``checkpoint-<global_step>``.
        model: The model.
        optimizer: Its optimizer.
        schedule: Its schedule.
        precision: Its loss scaler.
        config: The settings.
        plan: The counts.
        progress: Where the run stands.
        ranks: The processes of the run.

    Returns:
        The checkpoint's path.
    """
    tensors, plain = optimizer_parts(optimizer)
    state = progress.as_dict()
    values = {
        # the names that transformers' TrainerState uses, for whoever reads a finished run
        "global_step": progress.global_step,
        "epoch": progress.claimed_epoch,
        "max_steps": plan.max_steps,
        "num_train_epochs": plan.num_train_epochs,
        "num_input_tokens_seen": progress.num_input_tokens_seen,
        "train_batch_size": config.per_device_train_batch_size,
        "log_history": state.pop("log_history"),
        "loop": {
            "progress": state,
            "rows": plan.rows,
            "config": config.as_dict(),
            "optimizer": plain,
            "schedule": schedule.state_dict(),
            "precision": precision.state_dict(),
        },
    }
    path = save_checkpoint(
        output_dir,
        Checkpoint(
            model=_model_tensors(model), optimizer=tensors, values=values, random=RandomState.capture()
        ),
        global_step=progress.global_step,
        ranks=ranks,
        model_config=getattr(innermost(model), "config", None),
    )
    if ranks.is_main:
        keep_newest(output_dir, limit=config.save_total_limit, newest=path)
    return path


def find_checkpoint(resume_from: str | Path | Literal[True], config: TrainingConfig) -> Path:
    """The checkpoint to resume from.

    Args:
        resume_from: Its path, or True for the newest one in ``output_dir``.
        config: The settings.

    Returns:
        The path.

    Raises:
        ValueError: The newest one was asked for without an ``output_dir``.
        FileNotFoundError: There is none.
    """
    if resume_from is not True:
        return Path(resume_from)
    if config.output_dir is None:
        raise ValueError("resume_from=True looks for the newest checkpoint in output_dir, which is None")
    found = checkpoints(Path(config.output_dir))
    if not found:
        raise FileNotFoundError(f"resume_from=True, but {config.output_dir!r} has no complete checkpoint")
    return found[-1]


def restore_run(
    path: Path,
    *,
    model: nn.Module,
    optimizer: Optimizer,
    schedule: Schedule,
    precision: Precision,
    config: TrainingConfig,
    plan: TrainingPlan,
    ranks: Ranks,
) -> Progress:
    """Put a run where ``save_run`` found it.

    Args:
        path: The checkpoint.
        model: The model, of the same architecture.
        optimizer: A new optimizer.
        schedule: A new schedule.
        precision: A new loss scaler.
        config: The settings; only those in ``FREE_ON_RESUME`` may differ.
        plan: The counts.
        ranks: The processes of the run.

    Returns:
        Where the run stands.

    Raises:
        ValueError: The checkpoint does not fit; the message shows both values.
    """
    checkpoint = load_checkpoint(path, ranks=ranks)
    loop = checkpoint.values["loop"]
    _check_settings(path, loop, config, plan)
    _load_model(path, model, checkpoint.model)
    load_optimizer(optimizer, checkpoint.optimizer, loop["optimizer"])
    schedule.load_state_dict(loop["schedule"])
    precision.load_state_dict(loop["precision"])
    checkpoint.random.restore()
    return Progress.from_dict({**loop["progress"], "log_history": checkpoint.values["log_history"]})


def _check_settings(path: Path, loop: dict[str, Any], config: TrainingConfig, plan: TrainingPlan) -> None:
    saved, current = loop["config"], config.as_dict()
    differing = [
        f"{name}: {saved.get(name)!r} there, {value!r} here"
        for name, value in current.items()
        if name not in FREE_ON_RESUME and saved.get(name) != value
    ]
    if loop["rows"] != plan.rows:
        differing.append(f"rows of the dataset: {loop['rows']} there, {plan.rows} here")
    if differing:
        raise ValueError(f"{path} is a checkpoint of another run: " + "; ".join(differing))


def _model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Tensors by name: all of a whole model; of an adapter on a frozen base, what training changes."""
    only_trained = hasattr(model, "peft_config")
    tensors = {
        name: parameter.detach().contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad or not only_trained
    }
    persistent = model.state_dict(keep_vars=True)
    if not only_trained:
        tensors |= {name: buffer.contiguous() for name, buffer in model.named_buffers() if name in persistent}
    return tensors


def _load_model(path: Path, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    own = _model_tensors(model)
    missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape]
    if missing or unknown or shapes:
        raise ValueError(
            f"{path} holds another model: missing {missing[:3]}, unknown {unknown[:3]}, "
            f"other shape {sorted(shapes)[:3]}"
        )
    live = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for name, tensor in tensors.items():
            live[name].copy_(tensor)
