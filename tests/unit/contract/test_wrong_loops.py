"""No miss: every rule has a negative twin, a loop that breaks it, and names what is wrong with numbers and a place."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
import wrong_loops
from cell_runs import NOT_OF_THE_TRACE_TIER, books_of, broken_rules, run_cell
from stepaudit.harness.contract import CONTRACTS, RULES, draw_up, rule_named
from stepaudit.harness.ledger import Backward, Clipped, Forward, OptimizerStep
from stepaudit.scenarios import Scenario, ScenarioError

FILE = Path(wrong_loops.__file__)


@dataclass(frozen=True)
class Case:
    """What a twin must be found with."""

    expected: str
    got: str
    formula: str
    update: int | None = None
    event: type | None = None
    also: frozenset = frozenset()
    scenario: dict = field(default_factory=dict, hash=False)


def case(expected, got, formula, *, update=None, event=None, also=(), **scenario):
    return Case(expected, got, formula, update, event, frozenset(also), scenario)


CASES = {
    "epochs_multiply_max_steps": case(
        "5 optimizer steps", "10 optimizer steps", "T = max_steps = 5", update=6, event=OptimizerStep,
        also={"coverage"}, max_steps=5,
    ),
    "stops_one_early": case("5 optimizer steps", "4 optimizer steps", "T = max_steps = 5", update=5, max_steps=5),
    "claims_micro_batches": case("global_step = 6", "global_step = 10", "optimizer steps observed = 6"),
    "plans_rows": case("6 optimizer steps", "9 optimizer steps (return value)", "T = ceil(epochs·U) = ceil(2·3) = 6"),
    "window_of_one_more": case(
        "2 micro-batches", "3 micro-batches", "A = 2 micro-batches a window", update=1, event=OptimizerStep
    ),
    "window_crosses_epochs": case(
        "a window of 1 micro-batch at the epoch's end", "2 micro-batches", "M % A = 5 % 2 = 1", update=3,
        event=OptimizerStep, also={"window", "epoch"}, max_steps=6,
    ),
    "tail_is_zeroed": case(
        "a window of 1 micro-batch at the epoch's end", "2 micro-batches", "M % A = 5 % 2 = 1", update=3,
        event=OptimizerStep, also={"coverage", "tokens"}, max_steps=6,
    ),
    "tail_is_skipped": case(
        "a window of 1 micro-batch at the epoch's end", "2 micro-batches", "M % A = 5 % 2 = 1", update=3,
        event=OptimizerStep, also={"coverage"}, max_steps=6,
    ),
    "row_twice_an_epoch": case(
        "9 rows, each once an epoch", "2 times in epoch 2", "rows of an epoch = rows = 9", event=Forward
    ),
    "mean_of_means": case(
        "0.05 a label token", "1.42857 times what it should be", "1 / N = 1 / 20", update=2, event=OptimizerStep
    ),
    "loss_not_divided": case(
        "0.0357143 a label token", "2 times what it should be", "1 / N = 1 / 28", update=1, event=OptimizerStep
    ),
    "short_window_under_scaled": case(
        "0.25 a label token", "0.5 times what it should be", "1 / N = 1 / 4", update=3, event=OptimizerStep,
        lengths="equal",
    ),
    "zero_once_per_epoch": case(
        "only the 4 rows of the window in optimizer step 2", "4 more rows", "weight of a row outside the window = 0",
        update=2, event=OptimizerStep,
    ),
    "scheduler_per_micro_batch": case(
        "lr 0.01 in optimizer step 1", "lr 0.0083333333", "lr = 0.01·linear(1 - 1; warmup=0, T=6)", update=1,
        event=OptimizerStep,
    ),
    "schedule_of_half_the_length": case(
        "lr 0.0083333333 in optimizer step 2", "lr 0.0066666667", "linear(2 - 1; warmup=0, T=6)", update=2,
        event=OptimizerStep,
    ),
    "one_advance_too_many": case(
        "2 scheduler steps before optimizer step 3", "3 scheduler steps", "scheduler steps = optimizer steps = 2",
        update=3, event=OptimizerStep, lr_schedule="constant",
    ),
    "epoch_of_a_longer_loader": case(
        "epoch 0.4 after optimizer step 1", "epoch 0.333333", "e + micro_batches / M = 0 + 2 / 5", update=1
    ),
    "logs_the_last_micro_batch": case(
        "logged loss -1.375 at 1", "logged loss -1.5625", "Σ weight·token loss = -1.375", update=1
    ),
    "logs_the_next_rate": case(
        "logged lr 0.01 at 1", "logged lr 0.0083333333", "logged lr = lr of optimizer step 1", update=1,
        event=OptimizerStep,
    ),
    "logs_the_clipped_norm": case(
        "logged grad norm 0.5 at 1", "logged grad norm 0.05", "before clipping", update=1, event=OptimizerStep,
        max_grad_norm=0.05,
    ),
    "logs_from_zero": case(
        "log at 1, 2, 3, 4, 5, 6", "log at 0, 1, 2, 3, 4, 5", "every 1 optimizer steps", update=1, also={"epoch"}
    ),
    "saves_one_early": case(
        "checkpoint at 4, 6", "checkpoint at 3", "every 4 optimizer steps and after the last: 4, 6", update=4,
        save_steps=4, logging_steps=0,
    ),
    "no_last_evaluation": case(
        "evaluation at 4, 6", "evaluation at 4", "every 4 optimizer steps and after the last: 4, 6", update=6,
        eval_steps=4,
    ),
    "clips_every_micro_batch": case(
        "one clip, of the gradient of all 2 micro-batches", "a clip after 1 of 2 micro-batches",
        "norm · min(1, max_grad_norm / (norm + 1e-6))", update=1, event=Clipped, also={"weight"}, max_grad_norm=0.05,
    ),
    "never_clips": case(
        "gradient norm 0.0499999", "gradient norm 0.5", "0.5 · min(1, 0.05 / 0.5)", update=1, event=OptimizerStep,
        max_grad_norm=0.05,
    ),
    "counts_padding": case("128 input tokens", "144 input tokens", "positions that are not padding"),
}  # fmt: skip


@cache
def record_of(name):
    scenario = Scenario(**({"rows": 9, "grad_accum": 2, "epochs": 2.0} | CASES[name].scenario))
    record = run_cell(f"{FILE}:{name}", scenario)
    assert record.error is None, record.error
    return record


PAIRS = [(rule, loop.__name__) for rule, loops in wrong_loops.TWINS.items() for loop in loops]


@pytest.mark.parametrize(("rule", "name"), PAIRS)
def test_the_twin_is_found_by_its_rule(rule, name):
    """The rule is broken, with the right numbers, formula, event and update; nothing else is but the consequences."""
    due, record = CASES[name], record_of(name)
    broken = broken_rules(draw_up(record, CONTRACTS["token-mean"]))
    assert set(broken) == {rule} | due.also
    finding = broken[rule][0]
    assert due.expected in finding.expected
    assert due.got in finding.got
    assert due.formula in finding.formula
    assert finding.update == due.update
    assert finding.text
    assert (None if finding.event is None else type(record.events[finding.event])) is due.event


@pytest.mark.parametrize("name", CASES)
def test_every_finding_points_into_the_ledger(name):
    """An event is a position of the ledger, an update one that ran or the next that should have."""
    record = record_of(name)
    books = draw_up(record, CONTRACTS["token-mean"])
    for findings in broken_rules(books).values():
        for finding in findings:
            assert finding.event is None or 0 <= finding.event < len(record.events)
            assert finding.update is None or 1 <= finding.update <= books.observed.optimizer_steps + 1
            assert finding.formula
            assert finding.expected != finding.got


def test_every_rule_has_a_twin():
    """A rule that nothing breaks is not known to work."""
    assert set(RULES) - NOT_OF_THE_TRACE_TIER == set(wrong_loops.TWINS)
    assert sorted(CASES) == sorted(name for _, name in PAIRS)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_rule_says_what_it_promises(rule):
    """A stable id, one sentence, a formula in symbols."""
    assert rule_named(rule.rule_id) is rule
    assert rule.statement.endswith(".")
    assert rule.formula


def test_unknown_rule_names_the_nearest():
    """A misspelt rule is told apart from a missing one."""
    with pytest.raises(ScenarioError, match="did you mean 'target'"):
        rule_named("targe")


class TestUnreadArguments:
    """A loop that never looks at an argument is told so, and is not excused from what it can't ignore."""

    def test_max_steps_is_no_excuse(self, tmp_path):
        """A loop that ignores max_steps breaks `target`."""
        source = tmp_path / "ignores.py"
        source.write_text(
            "from correct_loops import Loop\n"
            "class Ignoring(Loop):\n"
            "    pass\n"
            "def train(model, dataset, args):\n"
            "    class Fewer:\n"
            "        max_steps = -1\n"
            "        def __getattr__(self, name):\n"
            "            return getattr(args, name)\n"
            "    return Ignoring(model, dataset, Fewer()).run()\n"
        )
        broken = broken_rules(books_of(f"{source}:train", Scenario(rows=9, grad_accum=2, max_steps=2)))
        assert broken["target"][0].got == "3 optimizer steps"

    @pytest.mark.parametrize(
        ("rule", "fields", "reason"),
        [
            ("clip", {"max_grad_norm": 0.05}, "args.max_grad_norm"),
            ("schedule", {"warmup_steps": 2}, "args.warmup_steps"),
            ("schedule", {"lr_schedule": "cosine"}, "args.lr_scheduler_type"),
        ],
    )
    def test_what_is_not_read_is_not_judged(self, tmp_path, rule, fields, reason):
        """The reason names the argument."""
        source = tmp_path / "bare.py"
        source.write_text(
            "import torch\n"
            "from torch.utils.data import DataLoader\n"
            "def train(model, dataset, args):\n"
            "    loader = DataLoader(dataset, batch_size=args.per_device_train_batch_size)\n"
            "    optimizer = torch.optim.SGD(model.parameters(), lr=args.learning_rate)\n"
            "    for batch in loader:\n"
            "        model(**batch).loss.backward()\n"
            "        optimizer.step()\n"
            "        optimizer.zero_grad()\n"
        )
        books = books_of(f"{source}:train", Scenario(rows=6, **fields))
        assert reason in RULES[rule].judge(books).reason


def test_backwards_are_what_makes_a_micro_batch():
    """A training forward without a backward is no micro-batch of any window."""
    record = record_of("never_clips")
    seen = {event.micro_batch for event in record.events if isinstance(event, Backward)}
    assert len(seen) == 10
