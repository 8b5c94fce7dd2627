"""What `schedule`, `epoch`, `save`, `eval` and `tokens` say: bounds of a rate and an epoch, advances, texts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stepaudit.harness.ledger import Claims, EpochBegan, Logged, OptimizerStep, SchedulerStep
from written_ledgers import books, finding, micro_batch, one_row_updates, reason, update
from written_ranks import SCENARIO, findings, record


def without_advances(events: list, kept: int = 0) -> list:
    """The same events with the first `kept` scheduler steps only."""
    at = [number for number, event in enumerate(events) if isinstance(event, SchedulerStep)][kept:]
    return [event for number, event in enumerate(events) if number not in at]


class TestSchedule:
    """Rates and advances."""

    @pytest.mark.parametrize(("share", "holds"), [(1.0, True), (1.1, False)])
    def test_a_rate_beside_nothing(self, share, holds):
        """The first of a warm-up is 0, to 1e-12 of the base, the bound included."""
        events = [EpochBegan(epoch=0), *micro_batch(0, [0]), *update({0: 0.25}, rate=1e-12 * 0.01 * share)]
        shape = {"lr_schedule": "constant_with_warmup", "warmup_steps": 1, "learning_rate": 0.01}
        assert (finding("schedule", books(events, rows=1, epochs=1.0, **shape)) is None) is holds

    @pytest.mark.parametrize("count", [2, 4])
    def test_more_or_fewer_updates_than_expected_are_the_targets_matter(self, count):
        """Those that are both there and expected are compared."""
        assert finding("schedule", books(one_row_updates(count, 3), rows=3, max_steps=3)) is None

    def test_a_schedule_that_is_ahead(self):
        """Two advances an update on one rank: before the second update there were two instead of one."""
        events = []
        for event in one_row_updates(3, 3):
            events += [event, event] if isinstance(event, SchedulerStep) else [event]
        cell = books(events, rows=3, epochs=1.0)
        found = finding("schedule", cell)
        assert found.expected == "1 scheduler steps before optimizer step 2"
        assert found.got == "2 scheduler steps"
        assert found.formula == "scheduler steps = optimizer steps = 1"
        assert (found.update, found.event) == (2, cell.observed.done[1].event)

    @pytest.mark.parametrize("warmup", [0, 2])
    def test_a_warm_up_that_is_not_read(self, warmup):
        """It cannot be honoured where it was asked for."""
        shape = {"rows": 4, "epochs": 1.0, "lr_schedule": "constant_with_warmup", "warmup_steps": warmup}
        cell = books(one_row_updates(4, 4), Claims(unread=("warmup_steps",)), **shape)
        if warmup:
            assert reason("schedule", cell) == "the loop never reads args.warmup_steps"
        else:
            assert finding("schedule", cell) is None

    def test_a_warm_up_that_is_read_and_not_done(self):
        """Reading something else excuses nothing."""
        shape = {"rows": 4, "epochs": 1.0, "lr_schedule": "constant_with_warmup", "warmup_steps": 2}
        assert finding("schedule", books(one_row_updates(4, 4), **shape)) is not None

    def test_one_advance_is_a_schedule(self):
        """A linear one may be what a loop has that never reads which it should be."""
        unread = Claims(unread=("lr_scheduler_type",))
        events = without_advances(one_row_updates(2, 2), kept=1)
        cell = books(events, unread, rows=2, epochs=1.0, lr_schedule="linear")
        assert finding("schedule", cell).update == 2

    @pytest.mark.parametrize(
        ("advances", "last", "holds"),
        [(1, 1, True), (1, 0, True), (2, 2, True), (2, 0, True), (2, 1, False), (3, 3, False)],
    )
    def test_advances_over_two_ranks(self, advances, last, holds):
        """One an update or one for each rank; the last may be left out as a whole."""
        dealt = {0: ((0,), (1,), (2,)), 1: ((3,), (4,), (5,))}
        kept = record(dealt, SCENARIO.with_(rows=6, per_device_batch_size=1))
        events: list = []
        for event in kept.events:
            events += [event] * advances if isinstance(event, SchedulerStep) else [event]
        events = without_advances(events, 2 * advances + last)
        assert (findings(replace(kept, events=tuple(events)), "schedule") == []) is holds


class TestEpoch:
    """The claimed epoch."""

    def logged(self, events: list, number: int, epoch: float) -> list:
        """The same events with an entry that claims this epoch after optimizer step `number`."""
        said = dict.fromkeys(("global_step", "loss", "learning_rate", "grad_norm", "input_tokens"))
        at = [at for at, item in enumerate(events) if isinstance(item, OptimizerStep)][number - 1] + 1
        return [*events[:at], Logged(epoch=epoch, **said), *events[at:]]

    @pytest.mark.parametrize(("off", "holds"), [(0.0, True), (0.5e-9, True), (2e-9, False)])
    @pytest.mark.parametrize("side", [-1, 1])
    def test_a_fraction_is_right_to_its_quotients(self, off, holds, side):
        """1e-9 of an epoch, in the second one: 1 + 2 / 3."""
        events = self.logged(one_row_updates(6, 3), 5, 5 / 3 + side * off)
        found = finding("epoch", books(events, rows=3, epochs=2.0))
        assert (found is None) is holds
        assert found is None or found.formula == "e + micro_batches / M = 1 + 2 / 3"

    def test_the_end_is_claimed_too(self):
        """After the last update, in no event."""
        cell = books(one_row_updates(3, 3), Claims(epoch=1.0), rows=3, epochs=1.0)
        assert finding("epoch", cell) is None
        found = finding("epoch", books(one_row_updates(3, 3), Claims(epoch=0.9), rows=3, epochs=1.0))
        assert (found.update, found.event) == (3, None)
        assert found.text == "the trainer says epoch 0.9 after optimizer step 3"

    def test_an_update_of_no_micro_batch_does_not_end_the_search(self):
        """Nothing says how far it is; the next one does."""
        events = self.logged([EpochBegan(epoch=0), *update({}), *one_row_updates(2, 2)[1:]], 1, 0.7)
        assert finding("epoch", books(events, rows=2, epochs=1.0)) is None
        assert finding("epoch", books(self.logged(events, 2, 0.7), rows=2, epochs=1.0)).update == 2


class TestCadence:
    """What is written along the way, in words."""

    def test_a_place_beyond_the_last_update_is_not_due(self):
        """7 updates, every 4: at 4, and at the end."""
        asked = {"rows": 7, "epochs": 1.0, "save_steps": 4}
        assert finding("save", books(one_row_updates(7, 7), Claims(saved_at=(4, 7)), **asked)) is None

    @pytest.mark.parametrize(
        ("contract", "made", "formula", "update"),
        [
            ("token-mean", (3,), "checkpoint every 2 optimizer steps and after the last: 2, 3", 2),
            ("lightning", (1, 2), "checkpoint every 2 optimizer steps: 2", 2),
            ("lightning", (2, 3), "checkpoint every 2 optimizer steps: 2", 3),
            ("lightning", (), "checkpoint every 2 optimizer steps: 2", 2),
        ],
    )
    def test_the_promise_and_the_update(self, contract, made, formula, update):
        """Where it parts: the place that was due, else the one that was made."""
        asked = {"rows": 3, "epochs": 1.0, "save_steps": 2}
        found = finding("save", books(one_row_updates(3, 3), Claims(saved_at=made), contract, **asked))
        assert (found.formula, found.update) == (formula, update)

    @pytest.mark.parametrize(
        ("count", "text"), [(8, "1, 2, 3, 4, 5, 6, 7, 8"), (9, "1, 2, 3, 4, 5, 6, 7, 8, … 9 in all")]
    )
    def test_a_long_list_is_cut(self, count, text):
        """Eight are shown."""
        cell = books(one_row_updates(count, count), Claims(saved_at=()), rows=count, epochs=1.0, save_steps=1)
        assert finding("save", cell).expected == f"checkpoint at {text}"


@pytest.mark.parametrize(("claimed", "holds"), [(15, True), (16, False), (0, False)])
def test_claimed_tokens_are_those_of_the_micro_batches(claimed, holds):
    """Three rows of 5; who claims none is not judged."""
    events = one_row_updates(3, 3)
    found = finding("tokens", books(events, Claims(input_tokens=claimed), rows=3, epochs=1.0))
    assert (found is None) is holds
    assert found is None or (found.expected, found.got) == ("15 input tokens", f"{claimed} input tokens")
    assert "claims no number of tokens" in reason("tokens", books(events, rows=3, epochs=1.0))
