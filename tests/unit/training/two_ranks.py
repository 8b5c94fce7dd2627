"""A run over two processes, begun and resumed: a program, for the tests of ranks.

It imports once and forks; each rank writes what it did to `rank-<rank>.json` in the folder it is given.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from conftest import digest, make_llama, make_rows
from stepaudit.harness.training import TrainingConfig, WindowFinished, fine_tune


def run(rank, folder, resume_from):
    """One rank's part of one run."""
    model = make_llama(seed=1 + rank)  # rank 1 has to take rank 0's parameters
    events = []
    config = TrainingConfig(
        num_train_epochs=2,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        logging_steps=1,
        save_strategy="steps",
        save_steps=2,
        output_dir=str(folder / "out"),
    )
    result = fine_tune(model, make_rows(13), config, resume_from=resume_from, on_event=events.append)
    windows = [event for event in events if isinstance(event, WindowFinished)]
    return {
        "rows": [window.rows for window in windows],
        "tokens": [window.label_tokens for window in windows],
        "log": [[entry["loss"], entry["grad_norm"]] for entry in result.log_history if "loss" in entry],
        "seen": result.num_input_tokens_seen,
        "bits": digest(model),
        "parameters": [parameter.double().sum().item() for parameter in model.parameters()],
    }


def main():
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    fine_tune(
        make_llama(), make_rows(2), TrainingConfig(max_steps=1)
    )  # imports what training imports on the way
    child = os.fork()
    rank = 0 if child else 1
    signal.alarm(200)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    done = [run(rank, folder, None), run(rank, folder, folder / "out" / "checkpoint-2")]
    (folder / f"rank-{rank}.json").write_text(json.dumps(done))
    dist.destroy_process_group()
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
