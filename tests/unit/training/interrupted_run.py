"""Runs that kill themselves, for the tests of resuming: a program, not a module of tests.

It imports everything once, then forks a child for every JSON line on its standard input and answers with one JSON line:
how the child ended. A child trains; it appends one line to its ledger after every window and may send itself SIGKILL
after a given update, or just before a given one of the calls by which checkpoints get to disk.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from conftest import Record, make_llama, make_lora, make_rows
from stepaudit.harness.training import Saved, TrainingConfig, WindowFinished, checkpoint, fine_tune
from torch.utils.data import IterableDataset


class Stream(IterableDataset):
    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


class Noisy(torch.utils.data.Dataset):
    """Rows drawn from torch's random numbers when they are read."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, at):
        row = self.rows[at]
        noise = torch.randint(1, 60, row["input_ids"].shape)
        return {**row, "input_ids": noise}


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def count_writes(kill_at):
    """Count the calls by which a checkpoint gets to disk; die before call number `kill_at`."""
    calls = [0]

    def counted(function):
        def wrapper(*args, **kwargs):
            calls[0] += 1
            if calls[0] == kill_at:
                die()
            return function(*args, **kwargs)

        return wrapper

    checkpoint.save_file = counted(checkpoint.save_file)
    os.fsync = counted(os.fsync)
    shutil.rmtree = counted(shutil.rmtree)
    Path.rename = counted(Path.rename)
    Path.write_text = counted(Path.write_text)
    Path.mkdir = counted(Path.mkdir)
    return calls


def train(order):
    """Carry out one order."""
    calls = count_writes(order.get("kill_at_write"))
    rows = make_rows(order.get("rows", 9))
    model = make_lora(dropout=0.3) if order.get("lora") else make_llama()
    data = {"list": rows, "stream": Stream(rows), "noisy": Noisy(rows)}[order.get("data", "list")]
    record = Record(model)
    ledger = Path(order["ledger"])

    def watch(event):
        record(event)
        with ledger.open("a", encoding="utf-8") as file:
            if isinstance(event, WindowFinished):
                file.write(json.dumps(record.ledger[-1]) + "\n")
            if isinstance(event, Saved):
                file.write(json.dumps({"writes": calls[0]}) + "\n")
        if isinstance(event, WindowFinished) and event.global_step == order.get("kill_after"):
            die()

    result = fine_tune(
        model,
        data,
        TrainingConfig(output_dir=order["output_dir"], **order["config"]),
        eval_dataset=make_rows(3, seed=9) if "eval_strategy" in order["config"] else None,
        resume_from=True if order.get("resume") else None,
        on_event=watch,
    )
    log = [
        {key: value for key, value in entry.items() if key != "train_runtime"} for entry in result.log_history
    ]
    with ledger.open("a", encoding="utf-8") as file:
        file.write(
            json.dumps({"result": [result.global_step, result.epoch, result.num_input_tokens_seen, log]})
            + "\n"
        )


def warm_up():
    """Import all that training imports on the way, so that a child needs none of it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingConfig(max_steps=1, save_strategy="steps", output_dir=folder)
        for model in (make_llama(), make_lora()):
            fine_tune(model, make_rows(2), settings)


def main():
    torch.set_num_threads(1)
    warm_up()
    warnings.simplefilter("error")
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 1
            signal.alarm(120)
            try:
                train(json.loads(line))
                code = 0
            except BaseException as error:  # noqa: BLE001 - the child ends here, whatever it is
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"ended": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
