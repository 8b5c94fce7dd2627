"""Boundary points lie where they say, whatever B, A and E are."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stepaudit.scenarios import LossProtocol, Scenario, ScenarioError
from stepaudit.scenarios.axes import parse_axes
from stepaudit.scenarios.boundary import boundary, boundary_points, updates_per_epoch


@given(st.integers(1, 200), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_updates_per_epoch_is_what_a_loop_counts(rows, batch, accumulation, drop_last):
    """The closed form equals counting window by window."""
    sizes = [min(batch, rows - start) for start in range(0, rows, batch)]
    micro_batches = [size for size in sizes if size == batch or not drop_last]
    windows = [micro_batches[i : i + accumulation] for i in range(0, len(micro_batches), accumulation)]
    got = updates_per_epoch(rows=rows, batch=batch, accumulation=accumulation, drop_last=drop_last)
    assert got == max(len(windows), 1)


@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0]), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_all_named_boundaries_are_there(batch, accumulation, epochs, ranks):
    """Every boundary that is promised occurs, whatever batch size, accumulation, epochs and ranks are."""
    points = [
        Scenario(ranks=ranks, **point.values)
        for point in boundary_points(batch=batch, accumulation=accumulation, epochs=epochs, ranks=ranks)
    ]
    unit = batch * ranks
    by_epochs = {s.rows for s in points if s.max_steps is None and s.epochs == epochs and not s.drop_last}
    for size in (unit, unit * accumulation, unit * accumulation * math.ceil(epochs)):
        assert {size, size + 1} | ({size - 1} if size > 1 else set()) <= by_epochs
    assert 1 in by_epochs
    assert {0.5, 1.5} <= {s.epochs for s in points}
    asked = {s.max_steps for s in points if s.rows == 2 * unit * accumulation + 1 and s.max_steps is not None}
    updates = 3  # two whole windows and a short one
    assert asked == {0, 1, updates - 1, updates, updates + 1, 2 * updates - 1, 2 * updates, 2 * updates + 1}
    if accumulation > 1:
        assert any(math.ceil(s.rows / unit) < accumulation and s.max_steps == 3 for s in points)
    assert any(s.drop_last and s.rows < unit for s in points) is (unit > 1)


def test_every_point_says_why():
    """Each named boundary of the subject occurs among the reasons."""
    reasons = {point.why for point in boundary_points(batch=2, accumulation=4, epochs=2.0)}
    assert reasons == {
        "rows around B",
        "rows around B·A",
        "rows around B·A·E",
        "max_steps around U and 2U",
        "accumulation larger than an epoch",
        "fractional epochs, odd U",
        "fractional epochs, even U",
        "one row",
        "drop_last",
        "drop_last with rows < B",
    }


def test_base_and_axes_are_used():
    """Fixed fields stay, axes replace the usual values, an iterable dataset excludes runs by epochs."""
    sweep = boundary(parse_axes(["batch=5"]), base={"loss_protocol": "none", "grad_accum": 3})
    assert {(s.per_device_batch_size, s.grad_accum, s.loss_protocol) for s in sweep.scenarios} == {
        (5, 3, LossProtocol.NONE)
    }
    unsized = boundary(base={"dataset": "iterable"})
    assert all(s.max_steps for s in unsized.scenarios)
    assert sum(e.count for e in unsized.exclusions) > len(unsized.scenarios)
    total = len(boundary().scenarios) + boundary().merged
    assert len(unsized.scenarios) + unsized.merged + sum(e.count for e in unsized.exclusions) == total


@pytest.mark.parametrize(
    ("axes", "base", "message"),
    [
        (["rows=1,2"], {}, "boundary points are built from .*, not from axis 'rows'"),
        ([], {"rows": 4}, "boundary points choose rows themselves, so base cannot fix it at 4"),
        ([], {"max_steps": 4}, "boundary points choose max_steps themselves"),
        ([], {"ranks": "2"}, "base: ranks must be an integer, not '2'"),
    ],
)
def test_what_would_be_ignored_is_refused(axes, base, message):
    """An axis or a fixed field that the points overrule is an error."""
    with pytest.raises(ScenarioError, match=message):
        boundary(parse_axes(axes), base=base)
