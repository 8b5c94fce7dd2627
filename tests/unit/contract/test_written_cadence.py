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
