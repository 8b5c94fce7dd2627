"""The account of ledgers written by hand: every figure follows from the events alone."""

from __future__ import annotations

from stepaudit.harness.ledger import (
    Backward,
    Clipped,
    Evaluated,
    Fetched,
    Forward,
    GradsZeroed,
    Logged,
    OptimizerStep,
    SchedulerStep,
    account_of,
)


def forward(number, *rows, epoch=0, tokens=2):
    return Forward(
        micro_batch=number,
        rows=rows,
        epoch=epoch,
        label_tokens=(tokens,) * len(rows),
        input_tokens=3 * len(rows),
        divisor=None,
        loss=1.0,
    )


def backward(number, scale=1.0):
    return Backward(micro_batch=number, scale=scale)


def update(*, suppressed=False, rate=0.1, **changes):
    return OptimizerStep(
        **({"learning_rates": (rate,), "grad_norm": 1.0, "weights": {}, "suppressed": suppressed} | changes)
    )


ADVANCE = SchedulerStep(learning_rates=(0.05,))


def test_nothing():
    """An empty ledger is an account of zeros."""
    account = account_of(())
    assert (account.optimizer_steps, account.micro_batches, account.epochs_entered) == (0, 0, 0)
    assert account.updates == account.logs == account.unstepped == account.evaluations == ()


def test_two_windows():
    """Windows close at updates; positions, schedule and tokens are counted on the way."""
    account = account_of(
        (
            Fetched(rows=(0, 1), epoch=0),
            forward(0, 0, 1),
            backward(0, 0.5),
            forward(1, 2),
            backward(1, 0.5),
            update(),
            ADVANCE,
            GradsZeroed(),
            forward(2, 3, epoch=1),
            backward(2),
            update(rate=0.05),
            ADVANCE,
        )
    )
    assert account.windows == (2, 1)
    assert [item.rows for item in account.updates] == [(0, 1, 2), (3,)]
    assert [item.label_tokens for item in account.updates] == [6, 2]
    assert [item.schedule_position for item in account.updates] == [0, 1]
    assert [item.event for item in account.updates] == [5, 10]
    assert [item.index for item in account.updates] == [1, 2]
    assert (account.rows_fetched, account.label_tokens, account.input_tokens) == (2, 8, 12)
    assert (account.epochs_entered, account.scheduler_steps) == (2, 2)


def test_a_suppressed_attempt_is_an_update_that_is_not_done():
    """It closes its window and has the number of the next update."""
    account = account_of(
        (forward(0, 0), backward(0), update(suppressed=True), forward(1, 1), backward(1), update())
    )
    assert (account.optimizer_steps, account.skipped_steps) == (1, 1)
    assert [item.index for item in account.updates] == [1, 1]
    assert account.windows == (1, 1)
    assert [item.rows for item in account.done] == [(1,)]


def test_several_backwards_of_one_micro_batch():
    """They are one micro-batch, with the sum of their scales; a scale that nobody saw stays unknown."""
    account = account_of((forward(0, 0), backward(0, 0.25), backward(0, 0.5), backward(0, None), update()))
    assert account.windows == (1,)
    assert account.updates[0].window[0].scale == 0.75
    unknown = account_of((forward(0, 0), backward(0, None), update()))
    assert unknown.updates[0].window[0].scale is None


def test_forwards_without_backward_and_evaluations():
    """An evaluation forward is no micro-batch; evaluations stand at the updates done."""
    account = account_of(
        (
            forward(0, 0),
            forward(-1, 9),
            Evaluated(rows=1),
            forward(1, 1),
            backward(1),
            update(),
            Evaluated(rows=1),
        )
    )
    assert (account.micro_batches, account.forwards_without_backward) == (1, 1)
    assert account.evaluations == (0, 1)


def test_what_is_zeroed_or_left_over_is_unstepped():
    """In the order in which it was computed; it belongs to no window."""
    account = account_of(
        (
            forward(0, 0),
            backward(0),
            GradsZeroed(),
            forward(1, 1),
            backward(1),
            update(),
            forward(2, 2),
            backward(2),
        )
    )
    assert account.windows == (1,)
    assert [item.index for item in account.unstepped] == [0, 2]


def test_clips_know_how_much_of_their_window_they_clipped():
    """The clip of the whole window is the update's; an earlier one is kept beside it."""
    early, whole = Clipped(max_norm=1.0, total_norm=2.0), Clipped(max_norm=1.0, total_norm=3.0)
    account = account_of(
        (forward(0, 0), backward(0), early, forward(1, 1), backward(1), whole, update(), update())
    )
    first, second = account.updates
    assert first.clip == whole
    assert [(point.clipped, point.micro_batches, point.event) for point in first.clips] == [
        (early, 1, 2),
        (whole, 2, 5),
    ]
    assert second.clip is None


def test_logs_stand_at_their_place():
    """An entry knows the updates done when it was written, whatever it claims."""
    entry = Logged(global_step=7, epoch=0.5, loss=1.0, learning_rate=0.1, grad_norm=1.0, input_tokens=None)
    account = account_of((entry, forward(0, 0), backward(0), update(), entry))
    assert [(point.optimizer_steps, point.event) for point in account.logs] == [(0, 0), (1, 4)]
