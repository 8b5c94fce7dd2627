"""What `window`, `remainder` and `coverage` say of windows and rows: texts, numbers, and the event they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from stepaudit.harness.contract import CONTRACTS, CellBooks
from stepaudit.harness.ledger import EpochBegan, Forward
from written_ledgers import books, finding, micro_batch, update
from written_ranks import SCENARIO, findings, record


def run(*epochs: Sequence[Sequence[Sequence[int]]]) -> list:
    """Epochs of windows, each a list of the rows of its micro-batches (one row each) and an update."""
    events, number = [], 0
    for epoch, windows in enumerate(epochs):
        events.append(EpochBegan(epoch=epoch))
        for window in windows:
            for row in window:
                events += micro_batch(number, [row], epoch=epoch)
                number += 1
            events += update(dict.fromkeys(window, 1 / (4 * len(window))))
    return events


def forward_of(events: Sequence, number: int) -> int:
    """Position of the forward of a micro-batch."""
    return next(
        at for at, item in enumerate(events) if isinstance(item, Forward) and item.micro_batch == number
    )


class TestWindow:
    """Sizes of windows."""

    def test_a_window_that_is_too_short(self):
        """Numbers, formula with the short window of an epoch, rows."""
        cell = books(run([[0], [1, 2], [3, 4]]), rows=5, grad_accum=2, epochs=1.0)
        found = finding("window", cell)
        assert (found.expected, found.got) == ("2 micro-batches", "1 micro-batch")
        assert found.formula == "A = 2 micro-batches a window, M % A = 5 % 2 = 1 in an epoch's last"
        assert found.text == "optimizer step 1 closed a window of 1 micro-batch (rows 0)"
        assert (found.value, found.due) == (1, 2)
        assert found.event == cell.observed.done[0].event

    def test_a_window_that_is_too_long_where_a_whole_one_was_due(self):
        """It is no matter of the remainder, although an update is missing behind it."""
        cell = books(run([[0, 1, 2], [3]]), rows=4, grad_accum=2, epochs=1.0)
        found = finding("window", cell)
        assert (found.expected, found.got) == ("2 micro-batches", "3 micro-batches")
        assert found.formula == "A = 2 micro-batches a window"
        assert finding("remainder", cell) is None

    def test_a_short_window_that_is_shorter_still(self):
        """Two were due at the epoch's end: one is a window of the wrong size, and no remainder left unstepped."""
        cell = books(run([[0, 1, 2], [3]]), rows=5, grad_accum=3, epochs=1.0)
        assert (finding("window", cell).expected, finding("window", cell).got) == (
            "2 micro-batches",
            "1 micro-batch",
        )
        assert finding("remainder", cell) is None

    def test_a_window_longer_than_any_behind_a_remainder(self):
        """The remainder went into a window of its own size; a later one is beyond the accumulation."""
        cell = books(run([[0, 1], [2, 3]], [[0, 1, 2]]), rows=3, grad_accum=2, epochs=2.0)
        found = finding("window", cell)
        assert (found.expected, found.got, found.due) == ("at most 2 micro-batches", "3 micro-batches", None)
        assert found.update == 3

    def test_windows_that_never_came_are_the_targets_matter(self):
        """Neither rule speaks where the ledger ends before a whole window."""
        cell = books(run([[0, 1]]), rows=4, grad_accum=2, epochs=1.0)
        assert (finding("window", cell), finding("remainder", cell)) == (None, None)

    def test_a_window_over_three_epochs(self):
        """The first and the last are named, with the first micro-batch of the last."""
        events: list = []
        for number in range(3):
            events += [EpochBegan(epoch=number), *micro_batch(number, [0], epoch=number)]
        events += update({0: 0.25})
        cell = books(events, rows=1, grad_accum=3, max_steps=1)
        cell = replace(cell, expected=replace(cell.expected, windows=(3,)))
        found = finding("window", cell)
        assert found.got == "a window over epochs 1 and 3"
        assert found.event == forward_of(events, 2)


class TestRemainder:
    """The short last window of an epoch."""

    def test_a_remainder_that_went_into_a_longer_window(self):
        """3 rows, windows of 2: the short one took a micro-batch of the next epoch."""
        events = run([[0, 1]])
        events += [*micro_batch(2, [2]), EpochBegan(epoch=1), *micro_batch(3, [0], epoch=1), *update({})]
        cell = books(events, rows=3, grad_accum=2, epochs=2.0)
        found = finding("remainder", cell)
        assert (found.expected, found.got) == (
            "a window of 1 micro-batch at the epoch's end",
            "2 micro-batches",
        )
        assert found.formula == "M % A = 3 % 2 = 1; M = ceil(rows / (B·R)) = ceil(3 / (1·1)) = 3"
        assert found.text == "optimizer step 2 closed a window of 2 micro-batches"
        assert (found.update, found.event) == (2, cell.observed.done[1].event)

    def test_a_remainder_that_was_never_stepped(self):
        """The ledger ends before it."""
        found = finding("remainder", books(run([[0, 1]]), rows=3, grad_accum=2, epochs=1.0))
        assert found.got == "never stepped"
        assert found.text == "the ledger ends before optimizer step 2, the short window of its epoch"
        assert (found.update, found.event) == (2, None)

    def test_micro_batches_left_over_where_no_window_is_short(self):
        """Nothing should be left."""
        events = [*run([[0, 1], [2, 3]]), *micro_batch(4, [0])]
        found = finding("remainder", books(events, rows=4, grad_accum=2, epochs=1.0))
        assert found.expected == "nothing left unstepped"
        assert found.got == "1 micro-batch computed and never stepped"
        assert found.formula.startswith("M % A = 4 % 2 = 0; ")


class TestRepeatedRows:
    """A row that is read twice in an epoch."""

    def test_the_row_that_was_read_most_often_is_named(self):
        """With the micro-batch of its second read."""
        events = run([[0], [1], [1], [2], [2], [2]])
        found = finding("coverage", books(events, rows=6, epochs=1.0))
        assert found.got == "row 2 3 times in epoch 1"
        assert found.text == "row 2 again: micro-batch 4 (rows 2)"
        assert found.event == forward_of(events, 4)
        assert found.expected == "6 rows, each once an epoch"
        assert found.formula == "rows of an epoch = rows = 6, each once"

    def test_a_row_twice_in_one_micro_batch(self):
        """That one is named, not the first of the epoch."""
        events = [EpochBegan(epoch=0)]
        for number, rows in enumerate(((0, 1), (2, 2))):
            events += [*micro_batch(number, rows), *update(dict.fromkeys(rows, 1 / 8))]
        found = finding("coverage", books(events, rows=4, per_device_batch_size=2, epochs=1.0))
        assert found.text == "row 2 again: micro-batch 1 (rows 2, 2)"
        assert found.event == forward_of(events, 1)


class TestRowsOfAnEpoch:
    """How many rows an epoch has."""

    def cell(self, *epochs: Sequence[int], contract: str = "token-mean", **shape) -> CellBooks:
        """Epochs of one micro-batch a row, each its own update."""
        return books(run(*([[row] for row in rows] for rows in epochs)), None, contract, **shape)

    def test_an_epoch_before_the_last_is_complete(self):
        """Whatever became of the run: the first lacks a row, the third is a part."""
        cell = self.cell([0, 2, 3], [0, 1, 2, 3], [0], rows=4, max_steps=12)
        found = finding("coverage", cell)
        assert found.got == "3 rows, row 1 missing, in epoch 1"
        assert found.text == "the last micro-batch of the epoch: micro-batch 2 (rows 3)"
        assert found.event == cell.observed.done[2].window[0].event

    def test_the_second_of_three_is_complete(self):
        """All epochs but the last are."""
        cell = self.cell([0, 1, 2, 3], [0, 1, 3], [0], rows=4, max_steps=12)
        assert finding("coverage", cell).got == "3 rows, row 2 missing, in epoch 2"

    def test_a_run_that_ended_early_has_an_epoch_in_part(self):
        """Its last need not be complete."""
        assert finding("coverage", self.cell([0, 1, 2, 3], [0, 1], rows=4, epochs=2.0)) is None

    def test_an_epoch_behind_the_target_is_no_matter_of_rows(self):
        """One epoch was asked for: of a second the rows need not be complete."""
        assert finding("coverage", self.cell([0, 1, 2, 3], [0, 1], rows=4, epochs=1.0)) is None

    def test_windows_over_epochs_do_not_say_where_an_epoch_ends(self):
        """Too few or too many rows are not judged under such a contract; a repeated one is."""
        asked = {"rows": 4, "epochs": 1.0, "loss_protocol": "none", "contract": "hf-4.45"}
        assert finding("coverage", self.cell([0, 1, 2], **asked)) is None
        assert finding("coverage", self.cell([0, 1, 1, 2], **asked)) is not None

    @pytest.mark.parametrize(
        ("rows", "due", "shown"), [((0, 1, 2), 4, "3 rows, row 3 missing,"), ((0, 1, 2, 3, 4), 4, "5 rows")]
    )
    def test_with_drop_last_the_formula_counts_places(self, rows, due, shown):
        """M·B·R of the rows."""
        events = [EpochBegan(epoch=0)]
        for number in range(0, len(rows), 2):
            pair = rows[number : number + 2]
            events += [*micro_batch(number, pair), *update(dict.fromkeys(pair, 1 / 8))]
        shape = {"rows": 5, "per_device_batch_size": 2, "drop_last": True, "epochs": 1.0}
        found = finding("coverage", books(events, **shape))
        assert found.got == f"{shown} in epoch 1"
        assert found.expected == f"{due} of 5 rows, each once an epoch"
        assert found.formula == f"rows of an epoch = M·B·R = {due}, each once"

    def test_with_drop_last_on_ranks_all_places_count(self):
        """2 rounds of 2 rows on 2 ranks: 8 of 9 rows are right, 7 are not."""
        scenario = SCENARIO.with_(rows=9, drop_last=True)
        dealt = {0: ((0, 1), (4, 5)), 1: ((2, 3), (6, 7))}
        assert findings(record(dealt, scenario), "coverage") == []
        (found,) = findings(record(dealt | {1: ((2, 3), (6,))}, scenario), "coverage")
        assert found.expected == "8 of 9 rows, each once an epoch"

    def test_with_drop_last_packed_rows_count(self):
        """Two rows a sequence: 5 rows are 3 sequences, in batches of 2 one micro-batch of 4 rows."""
        assert CONTRACTS["trl-sft-packing"].rows_per_sequence == 2
        shape = {"rows": 5, "per_device_batch_size": 2, "drop_last": True, "epochs": 1.0}
        for rows, holds in ((range(4), True), (range(3), False)):
            events = [EpochBegan(epoch=0), *micro_batch(0, rows), *update(dict.fromkeys(rows, 1 / 16))]
            assert (finding("coverage", books(events, None, "trl-sft-packing", **shape)) is None) is holds


def test_a_micro_batch_of_no_rows_repeats_nothing():
    """A forward over something else than rows of the data is counted as no read."""
    events = [EpochBegan(epoch=0), *micro_batch(0, [])]
    events += update({})
    assert finding("coverage", books(events, rows=4, max_steps=4)) is None
