"""Counts: the closed forms equal counting, and the order equals accelerate's."""

from __future__ import annotations

import itertools

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, SeedableRandomSampler
from hypothesis import given
from hypothesis import strategies as st
from stepaudit.harness.training import TrainingConfig, plan_training
from stepaudit.harness.training.order import RowOrder
from stepaudit.harness.training.packing import pack_rows
from stepaudit.harness.training.schedule import Schedule
from torch.nn import Parameter
from torch.optim import SGD
from torch.utils.data import BatchSampler

small = st.integers(1, 9)


@given(
    rows=st.integers(1, 40),
    batch=small,
    accumulation=small,
    ranks=st.integers(1, 3),
    drop_last=st.booleans(),
    epochs=st.sampled_from([0.25, 0.5, 1, 1.5, 2, 3]),
    max_steps=st.sampled_from([-1, 1, 3, 7]),
)
def test_the_plan_equals_counting(rows, batch, accumulation, ranks, drop_last, epochs, max_steps):
    """M and U are what cutting the order into micro-batches and windows gives, on every rank."""
    config = TrainingConfig(
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        dataloader_drop_last=drop_last,
        num_train_epochs=epochs,
        max_steps=max_steps,
    )
    per_rank = [
        RowOrder(
            rows=rows, batch_size=batch, drop_last=drop_last, shuffle=True, seed=1, rank=rank, ranks=ranks
        ).epoch(0)
        for rank in range(ranks)
    ]
    counts = {len(batches) for batches in per_rank}
    assert len(counts) == 1
    if counts == {0}:
        with pytest.raises(ValueError, match="gives no micro-batch"):
            plan_training(config, rows=rows, ranks=ranks)
        return
    plan = plan_training(config, rows=rows, ranks=ranks)
    windows = len(range(0, len(per_rank[0]), accumulation))
    assert plan.micro_batches_per_epoch == len(per_rank[0])
    assert plan.updates_per_epoch == windows
    if max_steps > 0:
        assert plan.max_steps == max_steps
        assert (plan.num_train_epochs - 1) * windows < max_steps <= plan.num_train_epochs * windows
    else:
        assert plan.max_steps - 1 < epochs * windows <= plan.max_steps


@given(
    rows=st.integers(1, 30),
    batch=st.integers(1, 6),
    ranks=st.integers(1, 4),
    drop_last=st.booleans(),
    seed=st.integers(0, 2**31),
    epoch=st.integers(0, 3),
)
def test_the_order_is_accelerates(rows, batch, ranks, drop_last, seed, epoch):
    """Rows, order and split over ranks equal accelerate's own sampler classes, which `Trainer` uses."""
    for rank in range(ranks):
        sampler = SeedableRandomSampler(range(rows), data_seed=seed)
        sampler.set_epoch(epoch)
        batches = BatchSampler(sampler, batch, drop_last)
        theirs = BatchSamplerShard(batches, ranks, rank) if ranks > 1 else batches
        order = RowOrder(
            rows=rows, batch_size=batch, drop_last=drop_last, shuffle=True, seed=seed, rank=rank, ranks=ranks
        )
        assert order.epoch(epoch) == list(theirs)


def test_data_without_length_needs_max_steps():
    """No length and no max_steps: there is no end, and the message says so."""
    with pytest.raises(ValueError, match="no length, so max_steps must be positive, got -1"):
        plan_training(TrainingConfig(), rows=None)


@given(lengths=st.lists(st.integers(1, 16), min_size=1, max_size=30))
def test_packing_loses_and_repeats_no_row(lengths):
    """Every row is in exactly one pack, no pack is too long, and no two packs could be merged."""
    packs = pack_rows(lengths, max_length=16)
    assert sorted(itertools.chain(*packs)) == list(range(len(lengths)))
    filled = [sum(lengths[row] for row in pack) for pack in packs]
    assert max(filled) <= 16
    assert all(a + b > 16 for a, b in itertools.combinations(filled, 2))


def test_a_row_longer_than_a_pack_is_refused():
    """The message names row and length."""
    with pytest.raises(ValueError, match="row 1 has 9 tokens, more than max_length=8"):
        pack_rows([3, 9], max_length=8)


def test_a_schedule_that_cannot_end_is_refused_before_the_first_update():
    """transformers' polynomial schedule divides by T - warmup when it advances after update T."""
    config = TrainingConfig(lr_scheduler_type="polynomial", warmup_steps=3)
    optimizer = SGD([Parameter(torch.zeros(1))])
    with pytest.raises(ValueError, match=r"polynomial.* warm-up of all 3 updates"):
        Schedule(optimizer, config, total=3)
    Schedule(optimizer, config, total=4)
