"""A scenario as `transformers.TrainingArguments`, and the claims of a `Trainer`, for every subject built on it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainingArguments

from ...scenarios import Precision, Scenario, Tier
from ..ledger import Claims, LogEntry
from .subject import ClaimsInProgress

__all__ = ["ClaimsCallback", "claims_of_state", "log_entry", "training_arguments"]


def training_arguments(
    scenario: Scenario, output_dir: Path, kind: type[Any] = TrainingArguments, **changes: Any
) -> Any:
    """Return the arguments that ask a `Trainer` for this scenario; `changes` are a subject's own.

    `kind` is the class of arguments that the trainer takes: `TrainingArguments` or a subclass.
    """
    known = inspect.signature(kind).parameters
    asked = {
        "output_dir": str(output_dir),
        "max_steps": -1 if scenario.max_steps is None else scenario.max_steps,
        "num_train_epochs": scenario.epochs,
        "per_device_train_batch_size": scenario.per_device_batch_size,
        "per_device_eval_batch_size": 1,  # dataloader_drop_last drops evaluation rows too
        "gradient_accumulation_steps": scenario.grad_accum,
        "dataloader_drop_last": scenario.drop_last,
        "learning_rate": scenario.learning_rate,
        "optim": scenario.optimizer.value,
        "lr_scheduler_type": scenario.lr_schedule.value,
        "warmup_steps": scenario.warmup_steps,
        "max_grad_norm": scenario.max_grad_norm,
        "seed": scenario.seed,
        "bf16": scenario.precision is Precision.BF16,
        "fp16": scenario.precision is Precision.FP16,
        **_cadence("logging", scenario.logging_steps),
        **_cadence("save", scenario.save_steps),
        **_cadence("eval", scenario.eval_steps),
        "use_cpu": scenario.tier is not Tier.GPU,
        "report_to": [],
        "disable_tqdm": True,
    }
    if not scenario.shuffle and "train_sampling_strategy" in known:
        asked["train_sampling_strategy"] = "sequential"
    if "include_num_input_tokens_seen" in known:
        asked["include_num_input_tokens_seen"] = "non_padding"
    if "eval_strategy" not in known:  # transformers before 4.41
        asked["evaluation_strategy"] = asked.pop("eval_strategy")
    if "use_cpu" not in known:  # transformers before 4.34
        asked["no_cuda"] = asked.pop("use_cpu")
    return kind(**(asked | changes))


def _cadence(what: str, every: int) -> dict[str, Any]:
    return {f"{what}_strategy": "steps", f"{what}_steps": every} if every else {f"{what}_strategy": "no"}


class ClaimsCallback(TrainerCallback):
    """Passes on what a Trainer says, when it says it."""

    def __init__(self, claims: ClaimsInProgress) -> None:
        self._claims = claims

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """The Trainer logged; the summary at the end carries no `loss` and is no entry."""
        del args, control, kwargs
        if logs and "loss" in logs:
            self._claims.logged(log_entry(logs, state.global_step))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The Trainer wrote a checkpoint."""
        del control, kwargs
        if (Path(args.output_dir) / f"checkpoint-{state.global_step}").is_dir():
            self._claims.saved(state.global_step)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The Trainer ended an evaluation."""
        del args, control, kwargs
        self._claims.evaluated(state.global_step)


def log_entry(logs: dict[str, Any], global_step: int | None) -> LogEntry:
    """Return a Trainer's log table as an entry."""
    return LogEntry(
        global_step=global_step,
        epoch=_float(logs.get("epoch")),
        loss=_float(logs.get("loss")),
        learning_rate=_float(logs.get("learning_rate")),
        grad_norm=_float(logs.get("grad_norm")),
        input_tokens=None
        if logs.get("num_input_tokens_seen") is None
        else int(logs["num_input_tokens_seen"]),
    )


def claims_of_state(trainer: Trainer, made: ClaimsInProgress, scenario: Scenario) -> Claims:
    """Return what a Trainer claims after its run, from its state and from the callback."""
    state = trainer.state
    tokens = getattr(state, "num_input_tokens_seen", None)
    return Claims(
        global_step=state.global_step,
        epoch=_float(state.epoch),
        planned_steps={"state": state.max_steps},
        log=tuple(made.log),
        saved_at=tuple(made.saved_at) if scenario.save_steps else None,
        evaluated_at=tuple(made.evaluated_at) if scenario.eval_steps else None,
        input_tokens=int(tokens) if tokens is not None and _counts_tokens(trainer.args) else None,
    )


def _counts_tokens(args: Any) -> bool:
    return getattr(args, "include_num_input_tokens_seen", "no") not in (False, "no")


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
