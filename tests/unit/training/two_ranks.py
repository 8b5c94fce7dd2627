"""One rank of a run over two processes: a program, for the tests of ranks."""

from __future__ import annotations

import json
import sys

import torch
import torch.distributed as dist
from conftest import digest, make_llama, make_rows
from stepaudit.harness.training import TrainingConfig, WindowFinished, fine_tune


def main():
    rank, meeting, output_dir, resume = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] == "resume"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
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
        output_dir=output_dir,
    )
    resume_from = f"{output_dir}/checkpoint-2" if resume else None
    result = fine_tune(model, make_rows(13), config, resume_from=resume_from, on_event=events.append)
    windows = [event for event in events if isinstance(event, WindowFinished)]
    log = [[entry["loss"], entry["grad_norm"]] for entry in result.log_history if "loss" in entry]
    print(
        json.dumps(
            {
                "rows": [window.rows for window in windows],
                "tokens": [window.label_tokens for window in windows],
                "log": log,
                "seen": result.num_input_tokens_seen,
                "bits": digest(model),
                "parameters": [parameter.double().sum().item() for parameter in model.parameters()],
            }
        )
    )
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
