"""Interrupted and resumed: the ledger is the uninterrupted run's, and a loop that loses its place is found out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from running_cells import books_of, broken, run_cell
from stepaudit.harness.contract import RULES
from stepaudit.harness.ledger import Forward, Interrupted, OptimizerStep, record_from_json, record_to_json
from stepaudit.harness.subjects.loop_parts import Journal

PLACES = {
    "in the first epoch": {"resume_at": 1},
    "at an epoch's end": {"resume_at": 3},
    "in the second epoch": {"resume_at": 5},
    "behind the newest checkpoint": {"resume_at": 5, "save_steps": 2},
    "with evaluations": {"resume_at": 4, "eval_steps": 3},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("subject", ["hf", "plain", "fused", "accelerate"])
def test_a_resumed_run_makes_the_updates_of_the_uninterrupted_one(subject, place):
    """Every rule holds of the ledger of both parts together, in the tracer's exact books."""
    record = run_cell(subject, model="tracer", tier="trace", max_steps=7, **PLACES[place])
    assert sum(isinstance(event, Interrupted) for event in record.events) == 1
    assert not broken(books_of(record))
    assert record_from_json(record_to_json(record)) == record


@pytest.mark.parametrize(("accumulation", "lost"), [(2, 1), (1, 0)])
@pytest.mark.parametrize("subject", ["hf", "plain"])
def test_the_interruption_comes_inside_a_window(subject, accumulation, lost):
    """A window of several micro-batches is open, and what was computed of it is lost: it is computed again."""
    record = run_cell(
        subject, model="tracer", tier="trace", rows=8, grad_accum=accumulation, max_steps=3, resume_at=1
    )
    events = [event for event in record.events if isinstance(event, Forward | OptimizerStep | Interrupted)]
    kinds = [type(event) for event in events]
    at = kinds.index(Interrupted)
    assert kinds[:at] == [Forward] * accumulation + [OptimizerStep] + [Forward] * lost
    if lost:
        assert events[at - 1].rows == events[at + 1].rows
    assert not broken(books_of(record))


@pytest.mark.parametrize("model", ["tiny-llama", "tiny-llama-lora"])
@pytest.mark.parametrize("subject", ["hf", "plain", "fused", "accelerate"])
def test_a_resumed_model_has_the_same_bits(subject, model):
    """Parameters, momenta and order are restored: the final parameters are equal, not near."""
    record = run_cell(subject, model=model, max_steps=5, resume_at=4, save_steps=3)
    assert record.resumption.resumed_at == 3
    assert record.resumption.parameter_distance == 0.0
    assert not broken(books_of(record))


def _wrong(change):
    restore = Journal.restore

    def wrongly(journal, checkpoint):
        place = restore(journal, checkpoint)
        change(journal, place)
        return place

    return wrongly


FAULTS = {
    "skips one micro-batch more": (lambda journal, place: place.update(done=place["done"] + 1), "rows"),
    "begins the epoch again": (lambda journal, place: place.update(done=0), "rows"),
    "draws another order": (lambda journal, place: place.update(order=torch.Generator().get_state()), "rows"),
    "forgets the schedule": (lambda journal, place: _restart(journal._parts["schedule"]), "lr"),
    "counts an update twice": (
        lambda journal, place: setattr(journal, "updates", journal.updates + 1),
        "optimizer steps",
    ),
}


def _restart(schedule):
    schedule.last_epoch = 0
    for group in schedule.optimizer.param_groups:
        group["lr"] = group["initial_lr"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_loop_that_loses_its_place_is_found_out(fault, monkeypatch):
    """The finding says what differs, and at which update."""
    change, what = FAULTS[fault]
    monkeypatch.setattr(Journal, "restore", _wrong(change))
    record = run_cell("plain", model="tracer", tier="trace", max_steps=7, resume_at=4)
    (finding,) = broken(books_of(record))["resume"]
    assert what in finding.expected
    assert finding.update > 4


def test_lost_momenta_show_in_the_parameters(monkeypatch):
    """Rows, rates and weights agree with SGD's; the parameters do not."""

    def forget(journal, place):
        journal._parts["optimizer"].state.clear()

    monkeypatch.setattr(Journal, "restore", _wrong(forget))
    books = books_of(run_cell("plain", model="tracer", tier="trace", max_steps=7, resume_at=4))
    (finding,) = broken(books)["resume"]
    assert "bit for bit" in finding.expected


def test_updates_behind_the_checkpoint_are_lost_from_every_figure():
    """Interrupted after 5, resumed at 4: update 5 is made twice and counts once."""
    record = run_cell("plain", model="tracer", tier="trace", max_steps=7, resume_at=5, save_steps=2)
    observed = books_of(record).observed
    assert (observed.optimizer_steps, observed.interruptions) == (7, 1)
    assert [update.index for update in observed.done] == list(range(1, 8))
    assert observed.scheduler_steps == 7
    uninterrupted = run_cell("plain", model="tracer", tier="trace", max_steps=7, save_steps=2)
    assert observed.micro_batches == books_of(uninterrupted).observed.micro_batches


def test_a_missing_update_is_a_finding():
    """The uninterrupted run made one more."""
    record = run_cell("plain", model="tracer", tier="trace", max_steps=5, resume_at=2)
    whole = record.resumption.uninterrupted
    longer = replace(record, resumption=replace(record.resumption, uninterrupted=(*whole, whole[-1])))
    (finding,) = RULES["resume"].judge(books_of(longer))
    assert (finding.value, finding.due) == (5, 6)
