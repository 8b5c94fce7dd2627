"""Cadences, logged rates, clips and windows on ledgers written by hand: every bound with its neighbours."""

from __future__ import annotations

import pytest
from stepaudit.harness.ledger import Claims, EpochBegan, Evaluated, LogEntry
from written_ledgers import books, finding, micro_batch, one_row_updates, reason, update


def log(*at: int, **values) -> Claims:
    """Entries with a true loss at these steps, and the same values in each."""
    true = {"epoch": None, "loss": -1.0, "learning_rate": None, "grad_norm": None} | values
    return Claims(log=tuple(LogEntry(global_step=number, **true) for number in at))


@pytest.mark.parametrize(
    ("done", "every", "at", "holds"),
    [
        (5, 2, (2, 4), True),
        (5, 2, (2, 4, 5), True),
        (5, 2, (2, 4, 4), False),
        (5, 2, (2,), False),
        (4, 2, (2, 4), True),
        (4, 2, (2, 4, 4), False),
        (4, 4, (4,), True),
        (3, 4, (), True),
        (3, 4, (3,), True),
    ],
)
def test_the_log_comes_when_due_and_may_come_at_the_end(done, every, at, holds):
    """Every so many updates; one more after the last is no fault."""
    cell = books(one_row_updates(done, done), log(*at), rows=done, epochs=1.0, logging_steps=every)
    assert (finding("log", cell) is None) is holds


@pytest.mark.parametrize(
    ("contract", "done", "at", "holds"),
    [
        ("token-mean", 4, (4,), True),
        ("token-mean", 4, (), False),
        ("token-mean", 5, (4, 5), True),
        ("token-mean", 5, (4,), False),
        ("hf-4.45", 5, (4, 5), True),
        ("hf-4.45", 8, (4, 8), True),
    ],
)
def test_checkpoints_come_when_due_and_after_the_last_update(contract, done, at, holds):
    """At 4, 8, … and at the end."""
    asked = {"rows": done, "epochs": 1.0, "save_steps": 4}
    cell = books(one_row_updates(done, done), Claims(saved_at=at), contract, **asked)
    assert (finding("save", cell) is None) is holds


def test_evaluations_count_when_they_are_seen():
    """A claimed one without a forward over evaluation rows is none; without either there is nothing to judge."""
    asked = {"rows": 4, "epochs": 1.0, "eval_steps": 4}
    events = one_row_updates(4, 4)
    assert "makes no evaluation that can be seen" in reason("eval", books(events, **asked))
    claimed = books(events, Claims(evaluated_at=(4,)), **asked)
    assert finding("eval", claimed).got == "evaluation at never"
    seen = [*events, Evaluated(rows=2)]
    assert finding("eval", books(seen, **asked)) is None


@pytest.mark.parametrize(("off", "holds"), [(0.5e-7, True), (2e-7, False), (1e-4, False)])
def test_a_logged_rate_is_right_to_single_precision_of_the_base(off, holds):
    """1e-5 of a base rate of 0.01."""
    cell = books(one_row_updates(1, 1), log(1, learning_rate=0.01 + off), rows=1, epochs=1.0, logging_steps=1)
    assert (finding("log", cell) is None) is holds


@pytest.mark.parametrize(("off", "holds"), [(0.5e-6, True), (2.5e-6, False)])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_clipped_norm_is_right_to_single_precision(off, holds, side):
    """1e-6 of the norm that clipping leaves."""
    from stepaudit.harness.ledger import Clipped

    left = 2.0 * (0.5 / (2.0 + 1e-6)) * (1 + side * off)
    clip = Clipped(max_norm=0.5, total_norm=2.0)
    events = [EpochBegan(epoch=0), *micro_batch(0, [0]), clip, *update({0: 0.0625}, grad_norm=left)]
    cell = books(events, rows=1, epochs=1.0, max_grad_norm=0.5)
    assert (finding("clip", cell) is None) is holds


def test_a_window_over_two_epochs_is_named():
    """The first micro-batch of the second epoch, the update, both epochs counted from 1."""
    events = [EpochBegan(epoch=0), *micro_batch(0, [0]), *micro_batch(1, [1])]
    events += [*update({0: 0.125, 1: 0.125}), *micro_batch(2, [2]), EpochBegan(epoch=1)]
    events += [*micro_batch(3, [0], epoch=1), *update({2: 0.125, 0: 0.125})]
    found = finding("window", books(events, rows=3, grad_accum=2, max_steps=2))
    assert found.got == "a window over epochs 1 and 2"
    assert found.update == 2
    assert found.text == "optimizer step 2 took micro-batch 3 of epoch 2 into its window"
    assert events[found.event].micro_batch == 3


def test_windows_may_cross_epochs_where_the_contract_says_so():
    """Transformers up to 4.45; the formula of the target says that it counts so."""
    events = one_row_updates(5, 3)
    cell = books(events, None, "hf-4.45", rows=3, epochs=1.0, loss_protocol="none")
    assert finding("window", cell) is None
    across, within = (
        finding("target", books(events, None, contract, rows=3, epochs=1.0, loss_protocol="none")).formula
        for contract in ("hf-4.45", "hf-5")
    )
    assert across != within


@pytest.mark.parametrize(("off", "holds"), [(0.5e-12, True), (2e-12, False), (1e-9, False)])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_rate_is_right_to_the_order_of_its_operations(off, holds, side):
    """1e-12 of the base rate of 0.01, on either side, in every update."""
    events = [*one_row_updates(1, 2), *micro_batch(1, [1]), *update({1: 0.25}, rate=0.01 * (1 + side * off))]
    found = finding("schedule", books(events, rows=2, epochs=1.0))
    assert (found is None) is holds
    assert found is None or found.update == 2


@pytest.mark.parametrize(("off", "holds"), [(0.5e-9, True), (2e-9, False)])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_weight_of_the_tracer_is_right_to_its_sums(off, holds, side):
    """1e-9 of itself."""
    events = [EpochBegan(epoch=0), *micro_batch(0, [0]), *update({0: 0.25 * (1 + side * off)})]
    assert (finding("weight", books(events, rows=1, epochs=1.0)) is None) is holds


class TestEntriesOfTheLog:
    """Entries that carry a loss count; others are summaries, or say nothing."""

    def entries(self, *given: LogEntry) -> Claims:
        """Claims with these entries."""
        return Claims(log=given)

    def entry(self, at: int | None, **values) -> LogEntry:
        """An entry with nothing in it but what is given."""
        return LogEntry(
            **(dict.fromkeys(("epoch", "loss", "learning_rate", "grad_norm")) | values), global_step=at
        )

    def test_a_summary_without_a_loss_is_no_entry_of_the_cadence(self):
        """Trainers end their log with run times."""
        claims = self.entries(
            self.entry(2, loss=-1.0), self.entry(4, loss=-1.0), self.entry(4, grad_norm=9.0)
        )
        assert (
            finding("log", books(one_row_updates(4, 4), claims, rows=4, epochs=1.0, logging_steps=2)) is None
        )

    def test_entries_that_do_not_say_when_are_not_judged(self):
        """All without a step: no ground. One among others: it is not due."""
        shape = {"rows": 2, "epochs": 1.0, "logging_steps": 1}
        silent = self.entries(self.entry(None, loss=-1.0), self.entry(None, loss=-1.0))
        assert "at which step" in reason("log", books(one_row_updates(2, 2), silent, **shape))
        mixed = self.entries(self.entry(1, loss=-1.0), self.entry(None, loss=-1.0))
        assert finding("log", books(one_row_updates(2, 2), mixed, **shape)).got == "log at 1, ?"

    def test_the_epoch_is_judged_by_the_entries_where_the_ledger_saw_none(self):
        """Each against its own update; entries before the first update and after the last say nothing."""
        shape = {"rows": 4, "epochs": 1.0}
        true = [self.entry(number, epoch=number / 4) for number in (1, 2, 3, 4)]
        strangers = [
            self.entry(0, epoch=9.0),
            self.entry(5, epoch=9.0),
            self.entry(None, epoch=9.0),
            self.entry(2),
        ]
        assert (
            finding("epoch", books(one_row_updates(4, 4), self.entries(*true, *strangers), **shape)) is None
        )
        for wrong in (1, 4):
            log = [*true[: wrong - 1], self.entry(wrong, epoch=0.9), *true[wrong:]]
            assert finding("epoch", books(one_row_updates(4, 4), self.entries(*log), **shape)).update == wrong

    @pytest.mark.parametrize(
        ("epoch", "holds"), [(0, True), (1, True), (2, False), (-1, False), (0.5, True), (1.0, False)]
    )
    def test_a_whole_number_is_the_pass_begun_or_complete(self, epoch, holds):
        """Half an epoch was done: pass 0, or pass 1 counted from 1; a float is a fraction."""
        cell = books(one_row_updates(2, 4), self.entries(self.entry(2, epoch=epoch)), rows=4, max_steps=2)
        assert (finding("epoch", cell) is None) is holds

    def test_no_epoch_and_no_update(self):
        """The reason says which it is."""
        claims = Claims(epoch=1.0)
        assert "no optimizer step" in reason("epoch", books([], claims, rows=4, epochs=1.0))
        empty = {"rows": 1, "per_device_batch_size": 2, "drop_last": True, "epochs": 1.0}
        assert "M = 0" in reason("epoch", books(one_row_updates(1, 1), claims, **empty))

    def test_a_release_that_logs_the_next_rate(self):
        """The last update has no next one: its entry is not judged; the others are."""
        rates = (0.01, 0.01, 0.01)
        for wrong, holds in ((None, True), (1, False), (3, True)):
            log = [
                self.entry(number, loss=-1.0, learning_rate=0.5 if number == wrong else rate)
                for number, rate in enumerate(rates, 1)
            ]
            shape = {"rows": 3, "epochs": 1.0, "logging_steps": 1, "loss_protocol": "none"}
            cell = books(one_row_updates(3, 3), self.entries(*log), "hf-4.45", **shape)
            assert (finding("log", cell) is None) is holds


def test_the_first_place_where_a_cadence_parts_is_named():
    """Due and made, in words."""
    cell = books(one_row_updates(6, 6), Claims(saved_at=(2, 3, 6)), rows=6, epochs=1.0, save_steps=2)
    assert finding("save", cell).text == "checkpoint 2: due at 4, made at 3"
    late = books(one_row_updates(6, 6), Claims(saved_at=(2, 4, 6, 7)), rows=6, epochs=1.0, save_steps=2)
    assert finding("save", late).text == "checkpoint 4: due at no further update, made at 7"
    early = books(one_row_updates(6, 6), Claims(saved_at=(2,)), rows=6, epochs=1.0, save_steps=2)
    assert finding("save", early).text == "checkpoint 2: due at 4, never made"
