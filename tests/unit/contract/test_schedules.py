"""The schedules are those of `transformers.get_scheduler`, to the last bit."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from stepaudit.harness.contract.schedules import learning_rate
from stepaudit.scenarios import LrSchedule, Scenario
from transformers import get_scheduler


def rates_of_transformers(
    schedule: LrSchedule, base: float, warmup: int, total: int, count: int
) -> list[float]:
    """The rate before each advance of a real scheduler, and after the last."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    with warnings.catch_warnings():
        # the scheduler is advanced without an optimizer step on purpose
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
        scheduler = get_scheduler(
            schedule.value, optimizer, num_warmup_steps=warmup, num_training_steps=total
        )
        rates = [optimizer.param_groups[0]["lr"]]
        for _ in range(count):
            scheduler.step()
            rates.append(optimizer.param_groups[0]["lr"])
    return rates


def divides_by_zero(schedule: LrSchedule, warmup: int, total: int, count: int) -> bool:
    """transformers' polynomial schedule at position T = warmup."""
    return schedule is LrSchedule.POLYNOMIAL and warmup == total <= count


@pytest.mark.parametrize("schedule", LrSchedule)
@pytest.mark.parametrize("total", [1, 2, 3, 10, 57])
@pytest.mark.parametrize("offset", ["none", "one", "half", "total-1", "total", "total+3"])
def test_equal_to_transformers(schedule, total, offset):
    """Every position up to T and five beyond it, with warm-up from none to more than T."""
    warmup = {
        "none": 0,
        "one": 1,
        "half": total // 2,
        "total-1": total - 1,
        "total": total,
        "total+3": total + 3,
    }[offset]
    count = total + 5
    if divides_by_zero(schedule, warmup, total, count):
        count = total - 1
    scenario = Scenario(lr_schedule=schedule, warmup_steps=warmup, learning_rate=0.01)
    want = rates_of_transformers(schedule, 0.01, warmup, total, count)
    assert [learning_rate(scenario, position, total) for position in range(count + 1)] == want


@given(
    schedule=st.sampled_from(LrSchedule),
    total=st.integers(1, 80),
    warmup=st.integers(0, 90),
    base=st.floats(1e-6, 10.0),
)
@settings(max_examples=300, deadline=None)
def test_equal_to_transformers_for_drawn_numbers(schedule, total, warmup, base):
    """The same for drawn bases, lengths and warm-ups: compared with `==`."""
    assume(not divides_by_zero(schedule, warmup, total, total))
    scenario = Scenario(lr_schedule=schedule, warmup_steps=warmup, learning_rate=base)
    want = rates_of_transformers(schedule, base, warmup, total, total)
    assert [learning_rate(scenario, position, total) for position in range(total + 1)] == want


def test_where_transformers_divides_by_zero():
    """Polynomial with warm-up = T: transformers fails in its advance after the last update; no update needs it."""
    with pytest.raises(ZeroDivisionError):
        rates_of_transformers(LrSchedule.POLYNOMIAL, 0.01, 3, 3, 3)
    scenario = Scenario(lr_schedule="polynomial", warmup_steps=3)
    rates = [learning_rate(scenario, position, 3) for position in range(5)]
    assert rates[:3] == [0.0, 0.01 * (1 / 3), 0.01 * (2 / 3)]
    assert rates[3:] == [pytest.approx(1e-7)] * 2


@given(
    schedule=st.sampled_from(LrSchedule),
    total=st.integers(0, 2**53),
    warmup=st.integers(0, 2**53),
    position=st.integers(0, 2**53),
    base=st.floats(1e-300, 1e300),
)
@settings(max_examples=1000, deadline=None)
def test_total(schedule, total, warmup, position, base):
    """A rate is a finite number that is not negative, whatever the position, warm-up and length."""
    scenario = Scenario(lr_schedule=schedule, warmup_steps=warmup, learning_rate=base)
    rate = learning_rate(scenario, position, total)
    assert math.isfinite(rate)
    if base > 1e-7 or schedule is not LrSchedule.POLYNOMIAL:
        assert rate >= 0
