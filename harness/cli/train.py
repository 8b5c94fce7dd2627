"""`stepaudit train`: run the fused fine-tuning loop by hand, with a progress bar."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ...scenarios import ScenarioError, nearest

if TYPE_CHECKING:
    from ..training import TrainingResult

__all__ = ["train"]


def train(
    *,
    model: Path | None = None,
    rows: int = 256,
    eval_rows: int = 0,
    tokens: int = 256,
    hidden: int = 128,
    layers: int = 4,
    lora: int = 0,
    out: Path | None = None,
    resume: bool = False,
    **settings: str,
) -> int:
    """Fine-tune a Llama with the fused kernels, on prompts and answers from Python's own reference.

    Every setting of the loop is an option by its `TrainingArguments` name: --max-steps, --num-train-epochs,
    --per-device-train-batch-size, --gradient-accumulation-steps, --learning-rate, --bf16 true,
    --kernel-backend torch, ...

    Parameters
    ----------
    model
        Directory of a saved LlamaForCausalLM with a byte vocabulary of 260; none makes a random one.
    rows
        Training rows; eval_rows are held out.
    tokens
        Longest row, in byte tokens.
    hidden
        Hidden size of the random model, and layers its depth.
    lora
        Rank of the LoRA adapters; 0 trains all parameters.
    out
        Where checkpoints and the trained model go.
    resume
        Go on from the newest checkpoint in out.
    settings
        Settings of the loop.
    """
    from ...kernels import BackendUnavailableError
    from ..training import TrainingConfig, fine_tune
    from ..workloads.text import TextPairs

    if resume and out is None:
        raise ScenarioError("--resume needs --out, the directory that holds the checkpoints")
    asked = {"logging_steps": "1", "num_train_epochs": "1"} | {
        name.replace("-", "_"): text for name, text in settings.items()
    }
    values = {name: _value(name, text) for name, text in asked.items()}
    if out is not None:
        values |= {"output_dir": str(out)}
    if eval_rows and "eval_strategy" not in values:
        values["eval_strategy"] = "epoch"
    try:
        config = TrainingConfig.from_mapping(values)
        data = TextPairs(rows + eval_rows, tokens, config.seed)
    except (ValueError, TypeError) as error:
        raise ScenarioError(str(error)) from None
    network = _network(model, hidden=hidden, layers=layers, tokens=tokens, lora=lora, seed=config.seed)
    from torch.utils.data import Subset

    try:
        with _Bar(Console(stderr=True)) as bar:
            result = fine_tune(
                network,
                Subset(data, range(rows)),
                config,
                eval_dataset=Subset(data, range(rows, rows + eval_rows)) if eval_rows else None,
                resume_from=resume or None,
                on_event=bar.handle,
            )
    except (ValueError, FileNotFoundError, BackendUnavailableError) as error:
        raise ScenarioError(str(error)) from None
    if out is not None:
        network.save_pretrained(out / "model")
    _print(result, Console(highlight=False, soft_wrap=True), out)
    return 0


def _value(name: str, text: str) -> Any:
    """Return a setting's value by the type of its default."""
    from ..training import TrainingConfig

    kinds = {item.name: type(item.default) for item in dataclasses.fields(TrainingConfig)}
    if name not in kinds:
        raise ScenarioError(f"unknown setting {name!r}{nearest(name, kinds)}")
    if text in {"true", "false"}:
        return text == "true"
    if text == "none":
        return None
    if kinds[name] is str:
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise ScenarioError(f"{name} must be a number, true, false or none, not {text!r}")


def _network(model: Path | None, *, hidden: int, layers: int, tokens: int, lora: int, seed: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from ..workloads.text import BEGIN, END, PAD, VOCAB_SIZE

    if model is not None:
        if not (model / "config.json").is_file():
            raise ScenarioError(f"--model {model}: there is no config.json in it")
        network: Any = LlamaForCausalLM.from_pretrained(model)
    else:
        heads = max(hidden // 32, 1)
        if hidden % heads or (hidden // heads) % 2:
            raise ScenarioError(f"--hidden must be a multiple of 32, not {hidden}")
        torch.manual_seed(seed)
        network = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCAB_SIZE,
                hidden_size=hidden,
                intermediate_size=hidden * 8 // 3 // 32 * 32 or 32,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                num_key_value_heads=heads,
                max_position_embeddings=max(tokens, 128),
                bos_token_id=BEGIN,
                eos_token_id=END,
                pad_token_id=PAD,
            )
        )
    if lora:
        from peft import LoraConfig, get_peft_model

        adapted = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        network = get_peft_model(network, LoraConfig(r=lora, lora_alpha=2 * lora, target_modules=adapted))
    if torch.cuda.is_available():
        network = network.to("cuda")
    return network


class _Bar:
    """A progress bar with the loss, fed by the loop's events."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("optimizer steps"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def handle(self, event: Any) -> None:
        """Show where the run stands."""
        from ..training import TrainingBegan, WindowFinished

        if isinstance(event, TrainingBegan):
            self._progress.update(self._task, total=event.plan.max_steps, completed=event.global_step)
        elif isinstance(event, WindowFinished):
            text = f"loss {event.loss:.4f}  grad norm {event.grad_norm:.3g}  lr {event.learning_rate:.3g}"
            self._progress.update(self._task, completed=event.global_step, description=text)


def _print(result: TrainingResult, console: Console, out: Path | None) -> None:
    rows = {
        "optimizer steps": f"{result.global_step} of {result.max_steps} planned"
        + (f", {result.skipped} suppressed by the loss scaler" if result.skipped else ""),
        "epoch": f"{result.epoch:g}",
        "tokens": f"{result.num_input_tokens_seen:,}",
        "train loss": f"{result.train_loss:.4f}",
        "kernels": f"{', '.join(result.kernels) or 'none'} ({result.backend})",
    }
    for name, text in rows.items():
        console.print(f"{name:<16} {text}", markup=False)
    if out is not None:
        console.print(f"{'saved to':<16} {out / 'model'}", markup=False)
