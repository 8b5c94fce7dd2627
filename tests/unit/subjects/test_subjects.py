"""Subjects: the registry, reasons for what they decline, and a loop of one's own."""

from __future__ import annotations

import pytest
from cell_runs import books_of, broken_rules, run_cell
from stepaudit.harness.contract import CONTRACTS
from stepaudit.harness.ledger import Outcome, record_from_json, record_to_json
from stepaudit.harness.subjects import REFERENCE, Subject, SubjectError, resolve, subject_names
from stepaudit.harness.subjects.own import LoopArguments, OwnLoop
from stepaudit.scenarios import Scenario

ALL_WARM_UP = {"rows": 4, "lr_schedule": "polynomial", "warmup_steps": 2}
BUILT_IN = ("hf", "plain", "accelerate", "unsloth-zoo@2026.10.5")


class TestRegistry:
    """Names, and what a wrong one is answered with."""

    @pytest.mark.parametrize("name", BUILT_IN)
    def test_protocol(self, name):
        """Every subject has the attributes of the protocol and a contract that exists."""
        subject = resolve(name)
        assert isinstance(subject, Subject)
        assert subject.name == name
        assert subject.contract in CONTRACTS
        assert REFERENCE in subject_names()

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("hff", "did you mean 'hf'"),
            ("unsloth-zoo", "needs a release"),
            ("unsloth-zoo@latest", "wants a release like"),
            ("unsloth-zoo@", "needs a release"),
            ("trainer.py", "trainer.py:FUNCTION"),
            ("no/such/file.py:train", "cannot read no/such/file.py"),
            ("no_such_package.module:train", "no_such_package"),
            ("", "unknown subject"),
        ],
    )
    def test_wrong_names(self, name, message):
        """One line that shows the value."""
        with pytest.raises(SubjectError, match=message) as caught:
            resolve(name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        *((name, {"ranks": 2, "resume_at": 1}, "audited on one rank only") for name in BUILT_IN[:3]),
        ("unsloth-zoo@2026.10.5", {"ranks": 2}, "ranks 2"),
        *((name, {"precision": "bf16"}, "precision bf16") for name in BUILT_IN),
        *((name, ALL_WARM_UP, "warmup_steps = T = 2") for name in (*BUILT_IN, "fused")),
        ("plain", {"loss_protocol": "overridden"}, "takes its loss from the model"),
        ("accelerate", {"loss_protocol": "overridden"}, "takes its loss from the model"),
        ("hf", {"rows": 1, "drop_last": True}, "loader of length 0"),
        ("unsloth-zoo@2026.10.5", {"shuffle": False}, "always uses a RandomSampler"),
        ("unsloth-zoo@2026.10.5", {"dataset": "iterable", "max_steps": 3}, "iterable"),
        ("unsloth-zoo@2026.10.5", {"eval_steps": 1}, "neither evaluates nor saves"),
    ],
)  # fmt: skip
def test_what_is_declined_has_a_reason(name, fields, reason):
    """The reason names the field."""
    assert reason in resolve(name).supports(Scenario(**fields))


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_default_scenario_is_supported(name):
    """Nothing stands in the way of the default."""
    assert resolve(name).supports(Scenario()) is None


GOOD = """
import torch
from torch.utils.data import DataLoader

def train(model, dataset, args):
    loader = DataLoader(dataset, batch_size=args.per_device_train_batch_size, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.learning_rate)
    updates = 0
    goal = args.max_steps if args.max_steps > 0 else int(args.num_train_epochs * len(loader))
    while updates < goal:
        for batch in loader:
            model(**batch).loss.backward()
            for group in optimizer.param_groups:
                group["lr"] = args.learning_rate * (goal - updates) / goal
            optimizer.step()
            optimizer.zero_grad()
            updates += 1
            if updates == goal:
                break
    return RESULT
"""


def loop(tmp_path, result="{'global_step': updates}", source=GOOD, name="mine.py"):
    path = tmp_path / name
    path.write_text(source.replace("RESULT", result), encoding="utf-8")
    return f"{path}:train"


class TestOwnLoop:
    """`my_trainer.py:train`."""

    def test_conforms(self, tmp_path):
        """A correct loop in a file; clipping that it never read is not judged."""
        books = books_of(loop(tmp_path), Scenario(rows=9, max_steps=7))
        assert broken_rules(books) == {}
        assert books.claimed.global_step == 7

    def test_none(self, tmp_path):
        """No claim is no finding."""
        assert broken_rules(books_of(loop(tmp_path, "None"), Scenario(rows=5))) == {}

    @pytest.mark.parametrize(
        ("result", "message"),
        [
            ("7", "returns a table of claims or None, not int"),
            ("{'global_step': 1.5}", "must be a whole number, not 1.5"),
            ("{'global_step': True}", "must be a whole number"),
            ("{'epoch': 'two'}", "claimed epoch must be a number"),
            ("{'log_history': [3]}", "an entry of log_history is a table"),
            ("{'log_history': [{'loss': []}]}", "claimed loss must be a number"),
        ],
    )
    def test_wrong_claims_are_the_cells_error(self, tmp_path, result, message):
        """The message shows the value."""
        record = run_cell(loop(tmp_path, result), Scenario(rows=4))
        assert record.outcome is Outcome.ERROR
        assert message in record.error.message

    @pytest.mark.parametrize(
        "result",
        [
            "{'global_step': 'seven'}",
            "{'global_step': float('nan')}",
            "{'global_step': float('inf')}",
            "{'log_history': 3}",
            "{'global_step': []}",
        ],
    )
    def test_hostile_claims_are_the_cells_error(self, tmp_path, result):
        """Whatever is returned instead of a number or a list: an error of this cell that names the claim."""
        record = run_cell(loop(tmp_path, result), Scenario(rows=4))
        assert record.outcome is Outcome.ERROR
        assert record.error.message.startswith("SubjectError"), record.error.message

    def test_an_unknown_claim_is_told(self, tmp_path, capfd):
        """It goes into the cell's output, with the nearest claim that a rule knows."""
        record = run_cell(loop(tmp_path, "{'globalstep': 4}"), Scenario(rows=4))
        assert record.claims.global_step is None
        assert "did you mean 'global_step'" in capfd.readouterr().out + record.output

    @pytest.mark.parametrize(
        "number", ["numpy.float64(1.0)", "torch.tensor(1.0)", "numpy.int64(1)", "numpy.float32(1)"]
    )
    def test_numbers_of_numpy_and_torch(self, tmp_path, number):
        """They are Python's own in the record, which is written."""
        source = "import numpy\n" + GOOD
        record = run_cell(
            loop(tmp_path, f"{{'epoch': {number}, 'global_step': {number}}}", source), Scenario(rows=4)
        )
        assert record.error is None
        assert type(record.claims.epoch) in (int, float)
        assert type(record.claims.global_step) is int
        assert record_from_json(record_to_json(record)) == record

    def test_an_exception_is_the_cells_error(self, tmp_path):
        """With the loop's own traceback and the ledger up to it."""
        record = run_cell(loop(tmp_path, "1 / 0"), Scenario(rows=4))
        assert record.error.message == "ZeroDivisionError: division by zero"
        assert "mine.py" in record.error.traceback
        assert record.events

    def test_a_missing_function(self, tmp_path):
        """The nearest function of the file is named."""
        name = loop(tmp_path, name="other.py").replace(":train", ":trian")
        with pytest.raises(SubjectError, match="did you mean 'train'"):
            resolve(name).load()

    def test_a_file_that_fails_to_import(self, tmp_path):
        """The error is the subject's, in one line, each time anew."""
        name = loop(tmp_path, source="raise RuntimeError('broken')", name="broken.py")
        for _ in range(2):
            with pytest.raises(SubjectError, match="RuntimeError: broken"):
                resolve(name).load()

    def test_the_fingerprint_is_the_source(self, tmp_path):
        """Editing the file makes it another subject to the store."""
        first = OwnLoop(loop(tmp_path)).fingerprint
        assert OwnLoop(loop(tmp_path)).fingerprint == first
        assert OwnLoop(loop(tmp_path, "None")).fingerprint != first

    def test_parameters_changed_without_an_optimizer(self, tmp_path):
        """An update that no torch optimizer made cannot be counted, and is never taken for none."""
        source = "import torch\ndef train(model, dataset, args):\n    with torch.no_grad():\n        model.rows += 1\n"
        record = run_cell(loop(tmp_path, source=source, name="handmade.py"), Scenario(rows=4))
        assert record.outcome is Outcome.ERROR
        assert "no torch optimizer was seen to step" in record.error.message


def test_arguments_remember_what_was_read():
    """Reading one name, or all by `to_dict`; a misspelt one names the nearest; private names are no arguments."""
    args = LoopArguments({"max_steps": 3, "warmup_steps": 0})
    assert args.max_steps == 3
    assert args.unread() == ("warmup_steps",)
    with pytest.raises(AttributeError, match="did you mean 'max_steps'"):
        _ = args.max_step
    with pytest.raises(AttributeError):
        _ = args._hidden
    assert args.to_dict() == {"max_steps": 3, "warmup_steps": 0}
    assert args.unread() == ()
