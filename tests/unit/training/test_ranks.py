"""Two processes over gloo make the updates of one that has all the rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from stepaudit.harness.training import TrainingConfig, WindowFinished, fine_tune


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each rank did: the run from its beginning, and the one resumed from update 2."""
    folder = tmp_path_factory.mktemp("ranks")
    here = Path(__file__).parent
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(here)}
    command = [sys.executable, "-P", str(here / "two_ranks.py"), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    per_rank = [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    return list(zip(*per_rank, strict=True))


def test_ranks_agree_and_partition_the_rows(ranks):
    """Both end with the same bits; an epoch's micro-batches are accelerate's split, every one full, no row left out."""
    one, other = ranks[0]
    assert one["bits"] == other["bits"]
    assert one["log"] == other["log"]
    assert one["tokens"] == other["tokens"]
    windows = len(one["rows"]) // 2
    read = [
        row for rank in (one, other) for window in rank["rows"][:windows] for batch in window for row in batch
    ]
    assert set(read) == set(range(13))
    assert len(read) == 16  # 13 rows fill four rounds of two micro-batches of two


def test_two_ranks_make_the_updates_of_one_process(ranks, llama, rows):
    """Token counts and gradients are summed over ranks: one process with the union of rows gets the same figures."""
    one, other = ranks[0]
    data, order = rows(13), []
    for mine, theirs in zip(one["rows"], other["rows"], strict=True):
        for a, b in zip(mine, theirs, strict=True):
            order += [*a, *b]
    model, events = llama(), []
    config = TrainingConfig(
        num_train_epochs=1,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        logging_steps=1,
        shuffle=False,
    )
    result = fine_tune(model, [data[row] for row in order], config, on_event=events.append)
    windows = [event for event in events if isinstance(event, WindowFinished)]
    assert [window.label_tokens for window in windows] == one["tokens"]
    log = [[entry["loss"], entry["grad_norm"]] for entry in result.log_history if "loss" in entry]
    torch.testing.assert_close(torch.tensor(log), torch.tensor(one["log"]), rtol=1e-4, atol=0)
    assert result.num_input_tokens_seen == one["seen"]
    sums = [parameter.double().sum().item() for parameter in model.parameters()]
    torch.testing.assert_close(torch.tensor(sums), torch.tensor(one["parameters"]), rtol=1e-3, atol=5e-3)


def test_ranks_resume_together(ranks):
    """From a checkpoint that rank 0 wrote, both ranks go on to the bits of the uninterrupted run."""
    whole, resumed = ranks
    assert [rank["bits"] for rank in resumed] == [rank["bits"] for rank in whole]
    assert [rank["rows"] for rank in resumed] == [rank["rows"][2:] for rank in whole]
