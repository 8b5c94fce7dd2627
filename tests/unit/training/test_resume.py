"""Killed at any moment and resumed, a run leaves the ledger of one that nobody killed, bit for bit on the CPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from stepaudit.harness.training import Saved, StopTraining, TrainingConfig, WindowFinished, fine_tune
from stepaudit.harness.training.checkpoint import checkpoints, keep_newest, load_checkpoint, recover
from stepaudit.harness.training.ranks import Ranks

BASE = {
    "num_train_epochs": 3,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1e-3,
    "logging_steps": 2,
    "save_strategy": "steps",
    "save_steps": 1,
}
UPDATES = 9  # nine rows: five micro-batches, three windows an epoch, the last one short

ORDERS = {
    "full": {"config": BASE},
    "short": {"config": {**BASE, "max_steps": 3}},
    "lora with dropout": {"config": BASE, "lora": True},
    "float16": {"config": {**BASE, "fp16": True}},
    "packed": {"config": {**BASE, "packing": True, "max_length": 12}},
    "rows drawn at random": {"config": BASE, "data": "noisy"},
    "stream": {"config": {**BASE, "max_steps": UPDATES}, "data": "stream"},
    "evaluated": {
        "config": {
            **BASE,
            "eval_strategy": "epoch",
            "logging_strategy": "epoch",
            "lr_scheduler_type": "reduce_lr_on_plateau",
            "lr_scheduler_kwargs": {"patience": 0, "threshold": 0.9},
        }
    },
    "every other update saved": {"config": {**BASE, "save_steps": 2}},
    "saved by epoch": {"config": {**BASE, "save_strategy": "epoch"}},
    "momentum of sgd's kind": {"config": {**BASE, "optim": "adafactor", "save_total_limit": 1}},
}


class Nursery:
    """Carries out orders in children of a process that has imported everything."""

    def __init__(self):
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(Path(__file__).parent),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("interrupted_run.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __call__(self, folder: Path, name: str, **order):
        """Train; returns how it ended (0, or minus the signal), the windows' lines and what else was noted."""
        ledger = folder / f"{name}.jsonl"
        self.process.stdin.write(
            json.dumps({**order, "ledger": str(ledger), "output_dir": str(folder / "out")}) + "\n"
        )
        self.process.stdin.flush()
        ended = json.loads(self.process.stdout.readline())["ended"]
        lines = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []
        notes = [line for line in lines if isinstance(line, dict)]
        return ended, [line for line in lines if isinstance(line, list)], notes


@pytest.fixture(scope="module")
def nursery():
    nursery = Nursery()
    yield nursery
    nursery.process.stdin.close()
    nursery.process.wait(timeout=30)
    nursery.process.stdout.close()


@pytest.fixture(scope="module")
def whole(nursery, tmp_path_factory):
    """The uninterrupted run of an order, made once."""
    done = {}

    def run(name):
        if name not in done:
            ended, ledger, notes = nursery(tmp_path_factory.mktemp("whole"), "whole", **ORDERS[name])
            assert ended == 0
            done[name] = ledger, notes
        return done[name]

    return run


def assert_resumes(nursery, folder, name, whole):
    """Resume what was killed, and compare ledger, claims and log with the uninterrupted run's."""
    ledger, notes = whole(name)
    saved = checkpoints(folder / "out")
    at = int(saved[-1].name.rpartition("-")[2]) if saved else 0
    ended, rest, rest_notes = nursery(folder, "resumed", resume=bool(saved), **ORDERS[name])
    assert ended == 0
    made = [line for line in ledger if line[0] <= at]
    assert made + rest == ledger
    assert rest_notes[-1] == notes[-1]
    assert not [path for path in (folder / "out").iterdir() if path.name.startswith(".")]
    return at


@pytest.mark.parametrize("update", range(1, UPDATES + 1))
def test_killed_after_any_update(update, nursery, whole, tmp_path):
    """kill -9 after update k, before its checkpoint: windows, rates, epochs and parameters of the rest are the same."""
    ended, killed, _ = nursery(tmp_path, "killed", kill_after=update, **ORDERS["full"])
    assert ended == -signal.SIGKILL
    assert killed == whole("full")[0][:update]
    assert assert_resumes(nursery, tmp_path, "full", whole) == update - 1


@pytest.mark.parametrize("name", [name for name in ORDERS if name not in {"full", "short"}])
@pytest.mark.parametrize("update", [2, 5])
def test_every_kind_of_state_is_resumed(name, update, nursery, whole, tmp_path):
    """Dropout, loss scale, packs, rows drawn at random, streams, schedules that follow a loss: nothing is lost."""
    ended, _, _ = nursery(tmp_path, "killed", kill_after=update, **ORDERS[name])
    assert ended == -signal.SIGKILL
    assert_resumes(nursery, tmp_path, name, whole)


def test_killed_at_any_point_of_a_save(nursery, whole, tmp_path):
    """kill -9 before each call by which the second checkpoint gets to disk: the first or the second is there, whole."""
    writes = [note["writes"] for note in whole("short")[1] if "writes" in note]
    found = set()
    for write in range(writes[0] + 1, writes[1] + 1):
        folder = tmp_path / str(write)
        folder.mkdir()
        ended, _, _ = nursery(folder, "killed", kill_at_write=write, **ORDERS["short"])
        assert ended == -signal.SIGKILL
        found.add(assert_resumes(nursery, folder, "short", whole))
    assert found == {1, 2}
    assert writes[1] - writes[0] > 10


@pytest.mark.parametrize("write", [3, 9, 14, 17])
def test_killed_while_replacing_a_checkpoint(write, nursery, whole, tmp_path):
    """A run that saves over an older run's checkpoint loses neither: what is resumed is whole."""
    nursery(tmp_path, "older", kill_after=3, **ORDERS["short"])
    ended, _, _ = nursery(tmp_path, "killed", kill_at_write=write, **ORDERS["short"])
    assert ended == -signal.SIGKILL
    assert [path.name for path in checkpoints(tmp_path / "out")][-1:] == ["checkpoint-2"]
    assert_resumes(nursery, tmp_path, "short", whole)


def config(folder, **changes):
    return TrainingConfig(**{**BASE, "output_dir": str(folder), **changes})


def stop_at(update):
    def handler(event):
        if isinstance(event, WindowFinished) and event.global_step == update:
            raise StopTraining

    return handler


def test_a_handler_can_stop_a_run_in_good_order(llama, rows, record, tmp_path):
    """`StopTraining` ends the run after the update's checkpoint; resumed, it equals a run that was not stopped."""
    whole, model, fresh = llama(), llama(), llama()
    expected = record(whole)
    fine_tune(whole, rows(9), config(tmp_path / "a"), on_event=expected)
    result = fine_tune(model, rows(9), config(tmp_path / "b"), on_event=stop_at(4))
    assert (result.stopped, result.global_step, result.max_steps) == (True, 4, 9)
    rest = record(fresh)
    result = fine_tune(fresh, rows(9), config(tmp_path / "b"), resume_from=True, on_event=rest)
    assert (result.stopped, result.global_step) == (False, 9)
    assert rest.ledger == expected.ledger[4:]


def test_a_finished_run_resumed_does_nothing_more(llama, rows, record, tmp_path):
    """Resuming from the last checkpoint makes no further update and claims the same."""
    first = fine_tune(llama(), rows(9), config(tmp_path))
    model = llama()
    watch = record(model)
    again = fine_tune(model, rows(9), config(tmp_path), resume_from=True, on_event=watch)
    assert watch.ledger == []
    assert (again.global_step, again.epoch, again.train_loss) == (
        first.global_step,
        first.epoch,
        first.train_loss,
    )
    assert len(again.log_history) == len(first.log_history)


def test_a_run_can_be_continued_to_more_updates(llama, rows, record, tmp_path):
    """With another max_steps the resumed part follows the new schedule from its first update on, mid-epoch."""
    fine_tune(llama(), rows(9), config(tmp_path, max_steps=4))
    model, whole = llama(), llama()
    rest, expected = record(model), record(whole)
    fine_tune(model, rows(9), config(tmp_path, max_steps=8), resume_from=True, on_event=rest)
    fine_tune(whole, rows(9), config(tmp_path / "b", max_steps=8), on_event=expected)
    assert [line[:4] for line in rest.ledger] == [line[:4] for line in expected.ledger[4:]]


@pytest.mark.parametrize(
    ("changes", "count", "message"),
    [
        ({"per_device_train_batch_size": 3}, 9, "per_device_train_batch_size: 2 there, 3 here"),
        (
            {"learning_rate": 1.0, "seed": 1},
            9,
            "learning_rate: 0.001 there, 1.0 here; seed: 42 there, 1 here",
        ),
        ({}, 8, "rows of the dataset: 9 there, 8 here"),
    ],
)
def test_another_run_cannot_take_over_a_checkpoint(changes, count, message, llama, rows, tmp_path):
    """Settings that change the data or the updates must be the same; the message shows both values."""
    fine_tune(llama(), rows(9), config(tmp_path, max_steps=1))
    with pytest.raises(ValueError, match=message):
        fine_tune(llama(), rows(count), config(tmp_path, max_steps=1, **changes), resume_from=True)


def test_another_model_cannot_take_over_a_checkpoint(llama, rows, tmp_path):
    """Names and shapes must be the same, before anything is changed."""
    fine_tune(llama(), rows(9), config(tmp_path, max_steps=1))
    with pytest.raises(ValueError, match=r"holds another model: .*other shape .*embed_tokens"):
        fine_tune(llama(vocab_size=64), rows(9), config(tmp_path, max_steps=1), resume_from=True)


def test_a_damaged_checkpoint_is_refused(llama, rows, tmp_path):
    """A truncated or missing file is named with both sizes; a directory that is no checkpoint, too."""
    fine_tune(llama(), rows(9), config(tmp_path, max_steps=1))
    path = tmp_path / "checkpoint-1"
    tensors = path / "model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"is damaged: model.safetensors should have \d+ bytes, found \d+"):
        fine_tune(llama(), rows(9), config(tmp_path, max_steps=1), resume_from=path)
    tensors.unlink()
    with pytest.raises(ValueError, match="found None"):
        load_checkpoint(path, ranks=Ranks())
    with pytest.raises(FileNotFoundError, match="is no checkpoint"):
        load_checkpoint(tmp_path, ranks=Ranks())


def test_resuming_from_nothing_is_an_error(llama, rows, tmp_path):
    """`resume_from=True` without a checkpoint does not start from scratch in silence."""
    with pytest.raises(FileNotFoundError, match="has no complete checkpoint"):
        fine_tune(llama(), rows(9), config(tmp_path, max_steps=1), resume_from=True)


def test_a_checkpoint_holds_no_pickle_and_loads_into_transformers(llama, rows, bits, tmp_path):
    """Safetensors and JSON only; a whole model opens with `from_pretrained`, bit for bit."""
    from transformers import LlamaForCausalLM

    model = llama(tie_word_embeddings=True)
    fine_tune(model, rows(9), config(tmp_path, max_steps=2))
    path = tmp_path / "checkpoint-2"
    assert {file.suffix for file in path.iterdir()} == {".safetensors", ".json"}
    json.loads((path / "trainer_state.json").read_text(), parse_constant=pytest.fail)
    assert bits(LlamaForCausalLM.from_pretrained(path)) == bits(model)


def test_numbers_that_are_not_finite_survive(llama, rows, tmp_path):
    """A plateau schedule's infinite best loss and a NaN in the log come back as they were."""
    from stepaudit.harness.training import checkpoint

    values = {
        "a": float("nan"),
        "b": [float("inf"), -float("inf")],
        "c": {"d": 1e-300, "e": "text", "f": 2**70},
    }
    checkpoint._write_json(tmp_path / "x.json", values)
    json.loads((tmp_path / "x.json").read_text(), parse_constant=pytest.fail)
    back = checkpoint._read_json(tmp_path / "x.json")
    assert back["a"] != back["a"]
    assert {key: back[key] for key in "bc"} == {key: values[key] for key in "bc"}


@pytest.mark.parametrize(("limit", "left"), [(None, [1, 2, 3]), (2, [2, 3]), (1, [3])])
def test_only_the_newest_checkpoints_are_kept(limit, left, llama, rows, tmp_path):
    """`save_total_limit` removes the oldest, never the one just written."""
    events = []
    fine_tune(llama(), rows(9), config(tmp_path, max_steps=3, save_total_limit=limit), on_event=events.append)
    assert [path.name for path in checkpoints(tmp_path)] == [f"checkpoint-{at}" for at in left]
    assert [event.global_step for event in events if isinstance(event, Saved)] == [1, 2, 3]
    keep_newest(tmp_path, limit=1, newest=tmp_path / f"checkpoint-{left[0]}")
    assert [path.name for path in checkpoints(tmp_path)] == [f"checkpoint-{left[0]}"]


@pytest.mark.parametrize(
    ("strategy", "amount", "saved"),
    [("steps", 4, [4, 8, 9]), ("steps", 0.5, [5, 9]), ("epoch", 1, [3, 6, 9]), ("no", 1, [])],
)
def test_the_saving_cadence_is_trainers(strategy, amount, saved, llama, rows, tmp_path):
    """Every n-th update and the last one; a share of all updates is rounded up; or the ends of epochs."""
    fine_tune(llama(), rows(9), config(tmp_path, save_strategy=strategy, save_steps=amount))
    assert [int(path.name.rpartition("-")[2]) for path in checkpoints(tmp_path)] == saved


def test_remains_are_cleared_and_foreign_files_left(tmp_path):
    """`recover` touches only what this loop hides; a directory that is not there is no error."""
    for name in (
        ".writing-checkpoint-3",
        ".removing-checkpoint-1",
        ".replaced-checkpoint-2",
        ".git",
        "checkpoint-x",
    ):
        (tmp_path / name).mkdir()
    recover(tmp_path)
    recover(tmp_path / "missing")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".git", "checkpoint-2", "checkpoint-x"]
    assert checkpoints(tmp_path) == []


def test_random_numbers_of_three_libraries_are_restored():
    """torch, python and numpy go on with the very numbers that would have come."""
    import random

    import numpy as np
    from stepaudit.harness.training.randomness import RandomState

    def draw():
        return torch.rand(2).tolist(), random.random(), random.gauss(0, 1), np.random.rand(2).tolist()

    np.random.randn()
    random.gauss(0, 1)
    state = RandomState.capture()
    state = RandomState(tensors=state.tensors, values=json.loads(json.dumps(state.values)))
    first = draw()
    state.restore()
    assert draw() == first
