"""Rules on ledgers written by hand: what loops that run seldom come to, and every bound with its neighbours."""

from __future__ import annotations

import pytest
from stepaudit.harness.contract import CONTRACTS, terms_of, window_weights
from stepaudit.harness.contract.formulas import epochs_formula
from stepaudit.harness.ledger import (
    Backward,
    Claims,
    Clipped,
    EpochBegan,
    LogEntry,
    Logged,
    MicroBatch,
    OptimizerStep,
    SchedulerStep,
    Stopped,
    Update,
)
from stepaudit.scenarios import Scenario
from written_ledgers import books, finding, micro_batch, one_row_updates, reason, update


def window(*micro_batches: dict[int, int]) -> Update:
    """An update whose micro-batches have these rows with so many label tokens."""
    return Update(
        index=1,
        window=tuple(
            MicroBatch(
                index=number,
                rows=tuple(tokens),
                label_tokens=tuple(tokens.values()),
                input_tokens=9,
                epoch=0,
                divisor=None,
                loss=None,
                scale=None,
                event=0,
            )
            for number, tokens in enumerate(micro_batches)
        ),
        learning_rates=(0.01,),
        grad_norm=None,
        weights=None,
        clips=(),
        suppressed=False,
        schedule_position=0,
        event=0,
    )


class TestReduction:
    """What one label token weighs, by each reduction, with the numbers written out."""

    TWO = ({0: 3, 1: 1}, {2: 2})

    @pytest.mark.parametrize(
        ("contract", "protocol", "first", "second"),
        [
            ("token-mean", "honoured", 1 / 6, 1 / 6),
            ("hf-5", "none", 1 / (4 * 2), 1 / (2 * 2)),
            ("hf-4.45", "honoured", 1 / (4 * 5), 1 / (2 * 5)),
        ],
    )
    def test_a_window_of_two_with_an_accumulation_of_five(self, contract, protocol, first, second):
        """1 / N, 1 / (n·W), 1 / (n·A)."""
        scenario = Scenario(grad_accum=5, loss_protocol=protocol)
        weights = window_weights(CONTRACTS[contract], scenario, window(*self.TWO))
        assert weights == {0: first, 1: first, 2: second}

    def test_a_row_without_label_tokens_weighs_nothing(self):
        """It is left out, and a micro-batch of such rows divides nothing by zero."""
        scenario = Scenario(grad_accum=2, loss_protocol="none")
        weights = window_weights(CONTRACTS["hf-5"], scenario, window({0: 0}, {1: 0, 2: 2}))
        assert weights == {2: 1 / (2 * 2)}

    def test_a_row_in_two_micro_batches_weighs_twice(self):
        """Its weights add up."""
        weights = window_weights(
            CONTRACTS["token-mean"], Scenario(grad_accum=2), window({0: 2}, {0: 2, 1: 4})
        )
        assert weights == {0: 2 / 8, 1: 1 / 8}

    def test_rows_and_their_tokens_are_as_many(self):
        """A ledger in which they are not is refused, not cut to the shorter."""
        one = window({0: 2, 1: 2}).window[0]
        short = MicroBatch(**{**{name: getattr(one, name) for name in one.__slots__}, "label_tokens": (2,)})
        whole = window({0: 2})
        broken = Update(**{**{name: getattr(whole, name) for name in whole.__slots__}, "window": (short,)})
        with pytest.raises(ValueError, match="shorter"):
            window_weights(CONTRACTS["token-mean"], Scenario(), broken)


class TestTarget:
    """Optimizer steps against what was asked for, where some attempts change nothing or the run has no end."""

    def test_epochs_are_not_made_up_for(self):
        """Asked for epochs, a suppressed attempt is one update less."""
        cell = books(one_row_updates(6, 3, suppressed=[1]), rows=3, epochs=2.0)
        assert cell.observed.optimizer_steps == 5
        assert finding("target", cell) is None

    def test_max_steps_are_made_up_for(self):
        """Asked for max_steps, they are what is done, however many attempts that takes."""
        assert finding("target", books(one_row_updates(6, 3, suppressed=[1]), rows=3, max_steps=5)) is None
        found = finding("target", books(one_row_updates(5, 3, suppressed=[1]), rows=3, max_steps=5))
        assert (found.expected, found.got, found.update) == ("5 optimizer steps", "4 optimizer steps", 5)

    def test_nothing_but_suppressed_attempts(self):
        """All that was asked for was attempted: nothing is left to do, and less than nothing is never due."""
        assert (
            finding("target", books(one_row_updates(3, 3, suppressed=range(3)), rows=3, epochs=1.0)) is None
        )
        assert (
            finding("target", books(one_row_updates(4, 3, suppressed=range(4)), rows=3, epochs=1.0)) is None
        )

    def test_one_update_has_no_plural(self):
        """1 optimizer step."""
        found = finding("target", books(one_row_updates(2, 2), rows=2, max_steps=1))
        assert (found.expected, found.got, found.update) == ("1 optimizer step", "2 optimizer steps", 2)
        assert found.text == "optimizer step 2 ran after the last one, 1"

    def test_a_run_without_an_end(self):
        """The right number of updates and no end is a finding of its own, that says where the audit stopped it."""
        events = [*one_row_updates(4, 4), Stopped(micro_batches=4)]
        found = finding("target", books(events, rows=4, max_steps=4))
        assert found.got == "4 optimizer steps, and no end"
        assert found.text == (
            "after optimizer step 4 it goes on without a further one; the audit stopped the run after 4 micro-batches"
        )
        ended = finding("target", books(one_row_updates(3, 4), rows=4, max_steps=4))
        assert (ended.got, ended.text) == (
            "3 optimizer steps",
            "the ledger ends after optimizer step 3: step 4 never came",
        )


class TestClaim:
    """What is said against what was done."""

    def test_the_first_log_entry_that_is_wrong_is_named(self):
        """Not an entry that is right, nor one that says nothing."""
        silent, right, wrong = (
            Logged(
                global_step=number,
                epoch=None,
                loss=None,
                learning_rate=None,
                grad_norm=None,
                input_tokens=None,
            )
            for number in (None, 2, 7)
        )
        events = one_row_updates(3, 3)
        ends = [at for at, event in enumerate(events) if type(event).__name__ == "SchedulerStep"]
        events.insert(ends[2] + 1, wrong)
        events.insert(ends[1] + 1, right)
        events.insert(ends[0] + 1, silent)
        found = finding("claim", books(events, Claims(global_step=9), rows=3, epochs=1.0))
        assert (found.expected, found.got, found.update) == ("global_step = 3", "global_step = 9", 3)
        assert found.text == "the log says 7 after optimizer step 3"
        assert events[found.event] is wrong

    def test_without_a_wrong_entry_it_is_the_end(self):
        """The last word is compared with the optimizer."""
        found = finding("claim", books(one_row_updates(3, 3), Claims(global_step=2), rows=3, epochs=1.0))
        assert (found.event, found.update) == (None, None)
        assert found.text == "at the end the trainer says 2, the optimizer stepped 3 times"
        assert (found.value, found.due) == (2, 3)


def logged(at: int | None, **values) -> Logged:
    """A log entry as the ledger has it, with nothing in it but what is given."""
    nothing = dict.fromkeys(("epoch", "loss", "learning_rate", "grad_norm", "input_tokens"))
    return Logged(global_step=at, **(nothing | values))


def after_update(events: list, number: int, event: object) -> list:
    """The same events, with one more after optimizer step `number`, counted from 1."""
    ends = [at for at, item in enumerate(events) if isinstance(item, OptimizerStep)]
    return [*events[: ends[number - 1] + 1], event, *events[ends[number - 1] + 1 :]]


class TestLog:
    """What a log entry says of an update, with the place in the ledger."""

    def entry(self, at: int, **values) -> LogEntry:
        """The true entry of `one_row_updates`, but for what is given."""
        true = {"global_step": at, "epoch": None, "loss": -1.0, "learning_rate": 0.01, "grad_norm": 1.0}
        return LogEntry(**(true | values))

    @pytest.mark.parametrize("value", ["learning_rate", "grad_norm", "loss"])
    def test_the_wrong_value_is_that_of_its_own_update(self, value):
        """Of four entries the third is wrong: update 3, and where it has one its event."""
        log = [self.entry(number, **({value: 0.5} if number == 3 else {})) for number in (1, 2, 3, 4)]
        cell = books(one_row_updates(4, 4), Claims(log=tuple(log)), rows=4, epochs=1.0, logging_steps=1)
        found = finding("log", cell)
        assert found.update == 3
        assert "0.5" in found.got
        if value != "loss":
            assert found.event == cell.observed.done[2].event

    def test_the_entries_are_true(self):
        """The log that the others change."""
        log = tuple(self.entry(number) for number in (1, 2, 3, 4))
        cell = books(one_row_updates(4, 4), Claims(log=log), rows=4, epochs=1.0, logging_steps=1)
        assert finding("log", cell) is None

    @pytest.mark.parametrize(("second", "is_judged"), [(0.5, False), (0.25, True)])
    def test_rows_that_weigh_differently_hide_the_loss(self, second, is_judged):
        """The loss of a micro-batch says nothing of its rows' own: the logged loss is not judged by a guess."""
        forward = micro_batch(0, [0, 1], [2, 2])[0]
        unseen = Backward(micro_batch=0, scale=None)
        events = [EpochBegan(epoch=0), forward, unseen, *update({0: 0.25, 1: second})]
        log = (self.entry(1, loss=-7.0),)
        cell = books(events, Claims(log=log), rows=2, per_device_batch_size=2, epochs=1.0, logging_steps=1)
        assert (finding("log", cell) is not None) is is_judged


class TestEpoch:
    """The claimed epoch, in a log that the ledger has seen."""

    @pytest.mark.parametrize("wrong", [1, 2, 4])
    def test_each_entry_is_held_against_the_update_before_it(self, wrong):
        """True entries hold; a wrong one is named with its update and its event."""
        events = one_row_updates(4, 4)
        for number in (4, 3, 2, 1):
            events = after_update(events, number, logged(number, epoch=number / 4))
        assert finding("epoch", books(events, rows=4, epochs=1.0)) is None
        at = next(
            at for at, item in enumerate(events) if isinstance(item, Logged) and item.global_step == wrong
        )
        events[at] = logged(wrong, epoch=wrong / 4 + 0.1)
        found = finding("epoch", books(events, rows=4, epochs=1.0))
        assert (found.update, found.event) == (wrong, at)
        assert found.expected == f"epoch {wrong / 4:g} after optimizer step {wrong}"

    def test_an_entry_before_the_first_update_says_nothing(self):
        """There is no update that it could be about."""
        events = [logged(0, epoch=0.7), *one_row_updates(4, 4)]
        assert "claims no epoch" in reason("epoch", books(events, rows=4, epochs=1.0))


class TestSchedule:
    """Rates and advances."""

    def test_a_schedule_that_is_not_read_and_not_made(self):
        """A loop of one's own that has a scheduler may have a linear one; without any it has no schedule."""
        events = one_row_updates(4, 4)
        unread = Claims(unread=("lr_scheduler_type",))
        bare = [event for event in events if not isinstance(event, SchedulerStep)]
        asked = {"rows": 4, "epochs": 1.0, "lr_schedule": "linear"}
        assert "lr_scheduler_type" in reason("schedule", books(bare, unread, **asked))
        assert finding("schedule", books(events, unread, **asked)) is not None

    @pytest.mark.parametrize(("advances", "holds"), [(2, False), (3, True), (4, True), (5, False)])
    def test_the_last_advance_may_be_left_out(self, advances, holds):
        """As many as updates, or one less; the finding says how many there were in all."""
        events = one_row_updates(4, 4)
        more = [SchedulerStep(learning_rates=(0.01,))] * max(advances - 4, 0)
        at = [number for number, event in enumerate(events) if isinstance(event, SchedulerStep)][advances:]
        cell = books(
            [event for number, event in enumerate(events) if number not in at] + more, rows=4, epochs=1.0
        )
        found = finding("schedule", cell)
        assert (found is None) is holds


class TestClip:
    """Clips of a part of the window."""

    @pytest.mark.parametrize(("limit", "scales"), [(5.0, False), (1.0, True)])
    def test_an_early_clip_that_scales_nothing_is_none(self, limit, scales):
        """After 1 of 2 micro-batches: only one that has shortened the gradient is a finding."""
        events = [EpochBegan(epoch=0), *micro_batch(0, [0]), Clipped(max_norm=limit, total_norm=2.0)]
        events += [*micro_batch(1, [1]), *update({0: 0.125, 1: 0.125}, grad_norm=1.0)]
        found = finding("clip", books(events, rows=2, grad_accum=2, epochs=1.0))
        assert (found is not None) is scales
        if found:
            assert found.event == 3
            assert found.got == "a clip after 1 of 2 micro-batches"


class TestLeakByProjection:
    """A weight by projection is rounded: what lies within the rounding of the heaviest is nothing."""

    @pytest.mark.parametrize(("foreign", "holds"), [(1e-9, True), (1e-2, False)])
    def test_a_foreign_row_within_rounding(self, foreign, holds):
        """1e-5 of the heaviest weight in float32."""
        events = [EpochBegan(epoch=0), *micro_batch(0, [0]), *update({0: 0.25, 1: foreign}, residual=0.0)]
        cell = books(events, rows=2, max_steps=1, model="tiny-llama", tier="numeric")
        assert (finding("leak", cell) is None) is holds


class TestWords:
    """Text with numbers in it."""

    @pytest.mark.parametrize(("rows", "text"), [(8, "rows 0, 1, 2, 3, 4, 5, 6, 7)"), (9, "7, … 9 in all)")])
    def test_a_long_list_of_rows_is_cut(self, rows, text):
        """Eight are shown."""
        events = [EpochBegan(epoch=0), *micro_batch(0, [0]), *micro_batch(1, range(1, rows)), *update({})]
        cell = books(events, rows=rows, per_device_batch_size=rows, grad_accum=1, epochs=1.0)
        assert text in finding("window", cell).text

    @pytest.mark.parametrize(
        ("limit", "says"), [(None, "T = ceil(epochs·U)"), (0, "max_steps = 0"), (3, "T = max_steps = 3")]
    )
    def test_the_formula_of_the_target(self, limit, says):
        """0 asks for epochs, as None does, and that is said."""
        cell = books(one_row_updates(9, 4), rows=4, epochs=1.0, max_steps=limit)
        assert says in finding("target", cell).formula


class TestCoverage:
    """Rows of an epoch, complete or not."""

    def passes(self, *epochs: list[list[int]]) -> list:
        """Epochs of micro-batches of rows, each its own update."""
        events, number = [], 0
        for epoch, micro_batches in enumerate(epochs):
            events.append(EpochBegan(epoch=epoch))
            for rows in micro_batches:
                events += [
                    *micro_batch(number, rows, epoch=epoch),
                    *update(dict.fromkeys(rows, 1 / (4 * len(rows)))),
                ]
                number += 1
        return events

    def test_a_row_that_is_missing_in_the_last_epoch(self):
        """The run is complete, so its last epoch is: a row less is found there too, and named."""
        events = self.passes([[0, 1], [2, 3]], [[0, 1], [3]])
        found = finding("coverage", books(events, rows=4, per_device_batch_size=2, epochs=2.0))
        assert found.got == "3 rows, row 2 missing, in epoch 2"
        assert finding("coverage", books(events, rows=4, per_device_batch_size=2, max_steps=5)) is None

    def test_the_last_epoch_of_a_part_may_be_a_part(self):
        """Three updates of two an epoch: the second epoch is half a one."""
        events = self.passes([[0, 1], [2, 3]], [[0, 1]])
        assert finding("coverage", books(events, rows=4, per_device_batch_size=2, max_steps=3)) is None

    def test_an_epoch_with_more_rows_than_there_are(self):
        """With drop_last a row that should have been left out is one too many."""
        events = self.passes([[0, 1], [2, 3, 4]])
        cell = books(events, rows=5, per_device_batch_size=2, epochs=1.0, drop_last=True)
        assert finding("coverage", cell).got == "5 rows in epoch 1"


def test_the_loss_of_rows_without_label_tokens_is_that_of_the_others():
    """A row that the loss does not count does not make the weights of its micro-batch differ."""
    forward = micro_batch(0, [0, 1], [4, 0])[0]
    unseen = Backward(micro_batch=0, scale=None)
    events = [EpochBegan(epoch=0), forward, unseen, *update({0: 0.25})]
    entry = LogEntry(global_step=1, epoch=None, loss=-7.0, learning_rate=None, grad_norm=None)
    shape = {"rows": 2, "per_device_batch_size": 2, "epochs": 1.0, "logging_steps": 1}
    assert finding("log", books(events, Claims(log=(entry,)), **shape)).expected == "logged loss -1 at 1"


def test_without_weight_books_the_loss_of_the_loop_itself_is_what_remains():
    """No weights, but the losses and what they were multiplied with: the log is judged by these."""
    events = [EpochBegan(epoch=0), *micro_batch(0, [0]), *update(None)]
    for loss, holds in ((-1.0, True), (-2.0, False)):
        entry = LogEntry(global_step=1, epoch=None, loss=loss, learning_rate=None, grad_norm=None)
        cell = books(events, Claims(log=(entry,)), rows=1, epochs=1.0, logging_steps=1)
        assert (finding("log", cell) is None) is holds


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"max_steps": 5}, "E = ceil(T / U) = ceil(5 / 3) = 2"),
        ({"epochs": 1.5}, "E = ceil(epochs) = ceil(1.5) = 2"),
    ],
)
def test_the_formula_of_the_epochs(asked, text):
    """By max_steps from the target, else from the epochs asked for."""
    scenario = Scenario(rows=3, per_device_batch_size=1, **asked)
    contract = CONTRACTS["token-mean"]
    assert text in epochs_formula(scenario, terms_of(scenario, contract))
