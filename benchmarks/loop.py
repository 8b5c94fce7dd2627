"""Speed and memory of the fused loop beside Hugging Face `Trainer`, at equal losses.

Every measurement is a fresh child process. The two loops take turns, the medians of the turns are compared, and the run
fails if the losses of any update differ by more than float32 rounding. Memory is the resident peak of training above
what was resident once model and data were built (`VmHWM`, Linux); gradients and optimizer state, the same for both
loops, are part of it.

Speed is tokens per second of wall time; the same ratio of processor time is printed beside it, because it is what
remains comparable on a machine that has other work.

    python -P benchmarks/loop.py [--shape NAME ...] [--repeats N] [--lora]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOOPS = ("hf", "fused")
#: Float32 losses of two summation orders after a few updates; a wrong weight or divisor is off by percents.
LOSS_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A model and its batches.

    Attributes:
        vocab: Vocabulary.
        hidden: Model width; heads are 32 wide.
        layers: Decoder layers.
        length: Tokens of a row, all of them labelled.
        batch: Rows of a micro-batch.
        accumulation: Micro-batches of a window.
        updates: Updates measured, after one that warms up.
        target_speed: Least ratio of tokens per second aimed at, None for no aim.
        target_memory: Greatest ratio of peak memory aimed at, None for no aim.
    """

    vocab: int
    hidden: int
    layers: int
    length: int
    batch: int
    accumulation: int
    updates: int
    target_speed: float | None = None
    target_memory: float | None = None


SHAPES = {
    "tiny": Shape(vocab=260, hidden=64, layers=2, length=64, batch=4, accumulation=2, updates=30),
    "vocab-32k": Shape(
        vocab=32_000,
        hidden=128,
        layers=4,
        length=256,
        batch=8,
        accumulation=2,
        updates=4,
        target_speed=1.5,
        target_memory=0.7,
    ),
    "mid": Shape(vocab=16_000, hidden=384, layers=6, length=256, batch=4, accumulation=2, updates=3),
}


def build(shape: Shape, *, lora: bool) -> tuple[Any, list[dict[str, Any]]]:
    """The model and its rows, the same in every child."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    heads = shape.hidden // 32
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=shape.vocab,
            hidden_size=shape.hidden,
            intermediate_size=shape.hidden * 8 // 3 // 32 * 32,
            num_hidden_layers=shape.layers,
            num_attention_heads=heads,
            num_key_value_heads=max(heads // 2, 1),
            max_position_embeddings=shape.length,
            use_cache=False,
        )
    )
    if lora:
        from peft import LoraConfig, get_peft_model

        names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        model = get_peft_model(model, LoraConfig(r=8, target_modules=names, task_type="CAUSAL_LM"))
    tokens = torch.randint(
        shape.vocab, ((shape.updates + 1) * shape.batch * shape.accumulation, shape.length)
    )
    return model, [{"input_ids": row, "labels": row} for row in tokens]


def measure(loop: str, shape: Shape, *, lora: bool) -> dict[str, Any]:
    """Train once, in this process.

    Returns:
        `seconds` and `cpu_seconds` from the end of the first update to the end of the last, `peak` in bytes,
        `losses` of each update.
    """
    settings: dict[str, Any] = {
        "num_train_epochs": 1,
        "per_device_train_batch_size": shape.batch,
        "gradient_accumulation_steps": shape.accumulation,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_strategy": "no",
    }
    import transformers
    from stepaudit.harness.training import TrainingConfig, WindowFinished, fine_tune

    trainer_class, callback_class = transformers.Trainer, transformers.TrainerCallback
    model, rows = build(shape, lora=lora)
    ends: list[tuple[float, float]] = []

    class Clock(callback_class):  # type: ignore[misc,valid-type]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append((time.perf_counter(), time.process_time()))

    with tempfile.TemporaryDirectory() as folder:
        baseline = reset_peak()
        if loop == "hf":
            arguments = transformers.TrainingArguments(
                output_dir=folder, report_to=[], disable_tqdm=True, use_cpu=True, **settings
            )
            trainer = trainer_class(model=model, args=arguments, train_dataset=rows, callbacks=[Clock()])
            trainer.remove_callback(transformers.PrinterCallback)
            trainer.train()
            history = trainer.state.log_history
        else:

            def on_event(event: Any) -> None:
                if isinstance(event, WindowFinished):
                    ends.append((time.perf_counter(), time.process_time()))

            history = list(fine_tune(model, rows, TrainingConfig(**settings), on_event=on_event).log_history)
    losses = [entry["loss"] for entry in history if "loss" in entry]
    wall, cpu = (last - first for first, last in zip(ends[0], ends[-1], strict=True))
    return {"seconds": wall, "cpu_seconds": cpu, "peak": peak() - baseline, "losses": losses}


def reset_peak() -> int:
    """Make the resident peak start over from here; returns what is resident now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak()


def peak() -> int:
    """Resident peak of this process in bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM: this benchmark needs Linux")


def child(loop: str, name: str, *, lora: bool) -> dict[str, Any]:
    """Measure in a process of its own."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    command = [
        sys.executable,
        "-P",
        __file__,
        "--child",
        loop,
        "--shape",
        name,
        *(["--lora"] if lora else []),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"{loop} on {name} failed with exit code {done.returncode}:\n{done.stderr[-2000:]}"
        )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(name: str, *, repeats: int, lora: bool) -> bool:
    """Print one table row; returns whether its targets, if any, are met."""
    shape = SHAPES[name]
    turns: dict[str, list[dict[str, Any]]] = {loop: [] for loop in LOOPS}
    for _ in range(repeats):
        for loop in LOOPS:
            turns[loop].append(child(loop, name, lora=lora))
    losses = {loop: turns[loop][0]["losses"] for loop in LOOPS}
    if len(losses["hf"]) != len(losses["fused"]) or not losses["hf"]:
        raise AssertionError(f"{name}: {len(losses['hf'])} losses of hf, {len(losses['fused'])} of fused")
    apart = max(abs(a / b - 1) for a, b in zip(losses["fused"], losses["hf"], strict=True))
    if not apart <= LOSS_TOLERANCE:
        raise AssertionError(f"{name}: losses differ by {apart:.2e}, more than {LOSS_TOLERANCE:g}: {losses}")
    tokens = shape.updates * shape.batch * shape.accumulation * shape.length
    rate = {loop: tokens / statistics.median(turn["seconds"] for turn in turns[loop]) for loop in LOOPS}
    used = {loop: statistics.median(turn["peak"] for turn in turns[loop]) / 2**20 for loop in LOOPS}
    cpu = {loop: statistics.median(turn["cpu_seconds"] for turn in turns[loop]) for loop in LOOPS}
    speed, memory = rate["fused"] / rate["hf"], used["fused"] / used["hf"]
    met = (shape.target_speed is None or lora or speed >= shape.target_speed) and (
        shape.target_memory is None or lora or memory <= shape.target_memory
    )
    aim = "" if shape.target_speed is None or lora else "  target met" if met else "  TARGET MISSED"
    print(
        f"{name + (' lora' if lora else ''):<16}{rate['hf']:>10.0f}{rate['fused']:>10.0f}{speed:>8.2f}x"
        f"{cpu['hf'] / cpu['fused']:>8.2f}x"
        f"{used['hf']:>10.0f}{used['fused']:>10.0f}{memory:>8.2f}x   {apart:.1e}{aim}"
    )
    return met


def main() -> int:
    """Run the benchmark.

    Returns:
        0 if every target is met, else 1.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", action="append", choices=sorted(SHAPES), help="default: all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--lora", action="store_true", help="train adapters through PEFT instead of all parameters"
    )
    parser.add_argument("--child", choices=LOOPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.shape or list(SHAPES)
    if options.child:
        print(json.dumps(measure(options.child, SHAPES[names[0]], lora=options.lora)))
        return 0
    speeds = f"{'tok/s hf':>10}{'fused':>10}{'ratio':>9}{'by cpu':>9}"
    print(f"{'shape':<16}{speeds}{'MiB hf':>10}{'fused':>10}{'ratio':>9}   loss apart")
    met = [compare(name, repeats=options.repeats, lora=options.lora) for name in names]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
