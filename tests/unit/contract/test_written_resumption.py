"""What `resume` and `skip` say of ledgers written by hand: the update, the value and the event that differ."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stepaudit.harness.contract import CellBooks
from stepaudit.harness.ledger import Claims, Resumption, SchedulerStep, UpdateDigest
from written_ledgers import books, finding, one_row_updates, reason

WHERE = "interrupted after optimizer step 2, resumed at 1: updates of both parts = updates of the uninterrupted run"


def digest(row: int, **changes) -> UpdateDigest:
    """What an update of `one_row_updates` is, but for what is given."""
    true = {"rows": ((row,),), "learning_rates": (0.01,), "weights": {row: 0.25}, "grad_norm": 1.0}
    return UpdateDigest(**(true | changes))


def resumed(*whole: UpdateDigest, count: int = 3, distance: float = 0.0) -> CellBooks:
    """`count` updates of a run that was resumed at the first, beside the uninterrupted one."""
    resumption = Resumption(
        interrupted_after=2, resumed_at=1, uninterrupted=whole, parameter_distance=distance
    )
    return replace(books(one_row_updates(count, 3), rows=3, max_steps=3), resumption=resumption)


WHOLE = (digest(0), digest(1), digest(2))


class TestResume:
    """Update by update."""

    def test_the_same_updates(self):
        """Nothing is found; without an interruption nothing is judged."""
        assert finding("resume", resumed(*WHOLE)) is None
        assert "not interrupted" in reason("resume", books(one_row_updates(3, 3), rows=3))

    @pytest.mark.parametrize(
        ("change", "what", "due", "got"),
        [
            ({"rows": ((5, 6), (7,))}, "rows", "5, 6 | 7", "1"),
            ({"rows": ()}, "rows", "none", "1"),
            ({"learning_rates": (0.01, 0.02)}, "lr", "0.01, 0.02", "0.01"),
            ({"grad_norm": 2.0}, "gradient norm", "2", "1"),
            ({"weights": {1: 0.5}}, "weight of row 1", "0.5", "0.25"),
            ({"weights": {1: 0.25, 2: 0.5}}, "weight of row 2", "0.5", "0"),
            ({"weights": {}}, "weight of row 1", "0", "0.25"),
        ],
    )
    def test_what_differs_is_named(self, change, what, due, got):
        """With both values."""
        cell = resumed(digest(0), digest(1, **change), digest(2))
        found = finding("resume", cell)
        assert (found.expected, found.got) == (f"{what} {due} in optimizer step 2", f"{what} {got}")
        assert found.formula == WHERE
        assert (found.update, found.event) == (2, cell.observed.done[1].event)

    @pytest.mark.parametrize(
        ("update", "part"),
        [(1, "before the interruption"), (2, "1 after the resumption"), (3, "2 after the resumption")],
    )
    def test_the_part_in_which_it_differs(self, update, part):
        """The checkpoint's update is the last before."""
        whole = list(WHOLE)
        whole[update - 1] = replace(whole[update - 1], grad_norm=2.0)
        assert finding("resume", resumed(*whole)).text == (
            f"optimizer step {update}, {part}, is another than in the uninterrupted run"
        )

    @pytest.mark.parametrize(("off", "holds"), [(0.5e-6, True), (2e-6, False)])
    @pytest.mark.parametrize("side", [-1, 1])
    @pytest.mark.parametrize("name", ["grad_norm", "weights"])
    def test_norms_and_weights_may_be_added_in_another_order(self, name, off, holds, side):
        """1e-6."""
        true = 1 + side * off
        change = {"grad_norm": true} if name == "grad_norm" else {"weights": {2: 0.25 * true}}
        assert (finding("resume", resumed(*WHOLE[:2], digest(2, **change))) is None) is holds

    @pytest.mark.parametrize(
        "change", [{"grad_norm": None}, {"weights": None}, {"weights": {1: 0.25, 0: 0.0}}]
    )
    def test_what_is_not_known_is_not_compared(self, change):
        """A norm or weights that were not taken, and a weight of nothing."""
        assert finding("resume", resumed(digest(0), digest(1, **change), digest(2))) is None

    def test_a_run_without_books_has_no_weights(self):
        """Those of the other are missing in it."""
        cell = resumed(*WHOLE)
        done = [replace(update, weights=None, grad_norm=None) for update in cell.observed.updates]
        cell = replace(cell, observed=replace(cell.observed, updates=tuple(done)))
        assert finding("resume", cell).got == "weight of row 0 0"

    @pytest.mark.parametrize(("count", "update"), [(2, 3), (4, 4)])
    def test_a_run_that_ends_elsewhere(self, count, update):
        """Too early: no event; too late: the first update too many."""
        cell = resumed(*WHOLE, count=count)
        found = finding("resume", cell)
        assert (found.expected, found.got) == (
            "3 optimizer steps in both parts together",
            f"{count} optimizer steps",
        )
        assert (found.value, found.due, found.update) == (count, 3, update)
        assert found.event == (cell.observed.done[3].event if count == 4 else None)

    def test_parameters_are_the_same_bit_for_bit(self):
        """The smallest difference is one."""
        cell = resumed(*WHOLE, distance=1e-30)
        found = finding("resume", cell)
        assert (found.value, found.due, found.update) == (1e-30, 0.0, None)
        assert found.event == cell.observed.done[-1].event
        assert finding("resume", resumed(count=0, distance=1.0)).event is None


class TestSkip:
    """Attempts that a scaler suppressed."""

    def cell(self, claims: Claims | None = None, events: list | None = None) -> CellBooks:
        """Five attempts, the second and the fourth suppressed."""
        made = one_row_updates(5, 5, suppressed=[1, 3]) if events is None else events
        return books(made, claims, rows=5, epochs=1.0)

    def test_a_right_loop(self):
        """Three updates, three claimed, three advances."""
        assert finding("skip", self.cell(Claims(global_step=3))) is None
        assert finding("skip", self.cell()) is None
        assert "no attempt" in reason("skip", books(one_row_updates(3, 3), rows=3))

    def test_a_suppressed_attempt_that_is_claimed(self):
        """The first of them is named."""
        cell = self.cell(Claims(global_step=5))
        found = finding("skip", cell)
        assert (found.expected, found.got) == ("global_step = 3", "global_step = 5")
        assert found.formula == "optimizer steps = attempts - suppressed = 5 - 2 = 3"
        assert found.text == "attempt 2 was suppressed, and it is counted"
        assert (found.update, found.event) == (2, cell.observed.updates[1].event)
        assert (found.value, found.due) == (5, 3)

    def test_a_schedule_that_advances_on_a_suppressed_attempt(self):
        """It shows before the next attempt."""
        events = one_row_updates(5, 5, suppressed=[1, 3])
        at = [at for at, event in enumerate(events) if getattr(event, "suppressed", False)]
        events.insert(at[0] + 1, SchedulerStep(learning_rates=(0.01,)))
        cell = self.cell(events=events)
        found = finding("skip", cell)
        assert (found.expected, found.got) == ("1 scheduler steps before attempt 3", "2 scheduler steps")
        assert found.formula == "scheduler steps = optimizer steps before it = 2 attempts - 1 suppressed"
        assert (found.update, found.event) == (2, cell.observed.updates[2].event)
        assert (found.value, found.due) == (2, 1)

    def test_an_advance_on_the_last_attempt(self):
        """No attempt comes after it: the total shows it."""
        events = [*one_row_updates(3, 3, suppressed=[2]), SchedulerStep(learning_rates=(0.01,))]
        cell = self.cell(events=events)
        found = finding("skip", cell)
        assert (found.expected, found.got) == ("2 scheduler steps", "3 scheduler steps")
        assert found.formula == "scheduler steps = attempts - suppressed = 3 - 1 = 2"
        assert (found.value, found.due, found.update) == (3, 2, None)
        assert found.event == cell.observed.updates[-1].event

    def test_a_schedule_that_falls_behind_is_another_rule(self):
        """Fewer advances than updates are the schedule's matter; none at all are rates set by hand."""
        events = one_row_updates(5, 5, suppressed=[1])
        at = [number for number, event in enumerate(events) if isinstance(event, SchedulerStep)]
        for kept in (0, 1, 3):
            drop = set(at[kept:])
            left = [event for number, event in enumerate(events) if number not in drop]
            assert finding("skip", self.cell(events=left)) is None
