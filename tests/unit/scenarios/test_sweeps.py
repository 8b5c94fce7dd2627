"""Grids, covering arrays and random samples: nothing left out in silence, nothing empty."""

from collections import Counter
from itertools import combinations, product

import pytest
import stepaudit.scenarios.covering as covering_module
from hypothesis import given, settings
from hypothesis import strategies as st
from stepaudit.scenarios import DatasetKind, Scenario, ScenarioError
from stepaudit.scenarios.axes import Axis, parse_axes
from stepaudit.scenarios.coverage import coverage_of
from stepaudit.scenarios.covering import covering
from stepaudit.scenarios.grid import cross, grid
from stepaudit.scenarios.sampling import RANDOM_AXES, sample

UNSIZED = parse_axes(["dataset=sized,iterable", "max_steps=none,0,3", "accum=1,2"])
POOL = parse_axes(
    [
        "dataset=sized,iterable",
        "max_steps=none,0,3",
        "accum=1,2,4",
        "drop_last=true,false",
        "model=tracer,tiny-llama",
        "tier=trace,numeric,gpu",
        "schedule=linear,cosine,constant",
    ]
)
some_axes = st.lists(st.sampled_from(POOL), min_size=2, max_size=5, unique=True).map(tuple)


def brute_force_pairs(axes, strength=2):
    """All joint values that occur in the full grid: what is coverable, by definition."""
    names = [axis.name for axis in axes]
    found = set()
    for values in product(*(axis.values for axis in axes)):
        point = dict(zip(names, values, strict=True))
        try:
            Scenario(**point)
        except ScenarioError:
            continue
        found |= {tuple((name, point[name]) for name in chosen) for chosen in combinations(names, strength)}
    return found


def test_a_grid_accounts_for_every_combination():
    """Kept and excluded combinations add up to the product, and each exclusion says why."""
    sweep = grid(UNSIZED)
    assert len(sweep.scenarios) + sum(e.count for e in sweep.exclusions) == 12
    assert {e.reason.rpartition(" ")[2]: e.count for e in sweep.exclusions} == {"none": 2, "0": 2}
    assert "2 combinations excluded: dataset iterable has no length" in sweep.summary


@given(some_axes)
@settings(deadline=None)
def test_a_covering_array_covers_what_the_full_grid_holds(axes):
    """Valid pairs are those of the full grid; all of them occur; the counts say so."""
    coverable = brute_force_pairs(axes)
    if not coverable:
        with pytest.raises(ScenarioError, match="no combination of the axes is valid"):
            covering(axes)
        return
    sweep = covering(axes)
    names = [axis.name for axis in axes]
    reached = {
        tuple((name, getattr(scenario, name)) for name in chosen)
        for scenario in sweep.scenarios
        for chosen in combinations(names, 2)
    }
    assert reached == coverable
    assert str(sweep.coverage) == f"pairs covered {len(coverable)}/{len(coverable)}"
    everything = sum(len(a.values) * len(b.values) for a, b in combinations(axes, 2))
    assert everything == len(coverable) + sum(e.count for e in sweep.exclusions)


@pytest.mark.parametrize("strength", [1, 2, 3])
def test_the_checker_counts_what_is_missing(strength):
    """Every scenario taken away from the grid of one tuple shows as exactly the tuples only it had."""
    axes = parse_axes(["accum=1,2", "batch=1,2", "drop_last=true,false"])
    full = grid(axes).scenarios
    assert coverage_of(full, axes, strength=strength).is_complete
    alone = coverage_of(full[:1], axes, strength=strength)
    assert alone.covered == {1: 3, 2: 3, 3: 1}[strength]
    assert alone.valid == {1: 6, 2: 12, 3: 8}[strength]
    assert len(alone.missing) == alone.valid - alone.covered
    assert not alone.is_complete


def test_a_generator_that_leaves_pairs_out_is_found(monkeypatch):
    """The figure is our own count: a generator that drops a row fails the sweep."""
    real = covering_module.make
    monkeypatch.setattr(covering_module, "make", lambda *args, **kwargs: real(*args, **kwargs)[1:])
    with pytest.raises(
        ScenarioError, match=r"covertable left values uncovered \(pairs covered \d+/\d+\), first "
    ):
        covering(POOL)


def test_scenarios_outside_an_axis_cover_nothing_of_it():
    """Coverage is about the promised values only."""
    axes = parse_axes(["accum=1,2", "batch=1,2"])
    assert coverage_of([Scenario(grad_accum=8)], axes).covered == 0


def test_a_covering_array_is_far_smaller_than_the_grid():
    """Strength 2 and 3 both hold, and the same seed gives the same scenarios."""
    assert len(covering(POOL).scenarios) < 30 < len(covering(POOL, strength=3).scenarios)
    assert covering(POOL, seed=4).scenarios == covering(POOL, seed=4).scenarios
    assert covering(POOL, strength=3).coverage.is_complete


@given(st.integers(0, 2**32), st.integers(1, 60))
@settings(deadline=None, max_examples=30)
def test_a_sample_is_reproducible_and_distinct(seed, count):
    """The same arguments give the same scenarios, as many as asked for, none twice."""
    first = sample(count=count, seed=seed)
    assert first == sample(count=count, seed=seed)
    assert len(set(first.scenarios)) == count


def test_a_sample_reaches_every_value_of_every_axis():
    """All axes take part: protocols, lengths, schedules, cadences, both kinds of dataset, evenly."""
    scenarios = sample(count=200, seed=7).scenarios
    for axis in RANDOM_AXES:
        counts = Counter(getattr(scenario, axis.name) for scenario in scenarios)
        assert set(counts) == set(axis.values), axis.name
        if axis.name not in {"dataset", "max_steps"}:
            assert max(counts.values()) - min(counts.values()) <= 1, axis.name
    assert {s.max_steps for s in scenarios if s.dataset is DatasetKind.SIZED} >= {None, 0}


def test_different_seeds_differ():
    """The seed is used."""
    assert sample(count=20, seed=1).scenarios != sample(count=20, seed=2).scenarios


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: grid(parse_axes(["dataset=iterable"])),
            "the grid sweep is empty: 1 combinations excluded: dataset",
        ),
        (lambda: grid(parse_axes(["accum=1", "batch=2"])[:1] * 2), "axis grad_accum is given 2 times"),
        (
            lambda: grid(
                (
                    Axis(name="rows", values=tuple(range(1, 1001))),
                    Axis(name="seed", values=tuple(range(1000))),
                )
            ),
            "the grid has 1000000 combinations, over 100000",
        ),
        (lambda: covering(parse_axes(["accum=1,2"])), "strength 2 needs at least 2 axes, not 1"),
        (lambda: covering(POOL, strength=0), "strength must be at least 1, not 0"),
        (
            lambda: covering(POOL[2:4], base={"dataset": "iterable"}),
            "no combination of the axes is valid: dataset",
        ),
        (lambda: sample(count=0, seed=1), "count must be at least 1, not 0"),
        (
            lambda: sample(count=9, seed=1, axes=UNSIZED),
            "asked for 9 distinct random scenarios, the axes gave only 8",
        ),
        (lambda: sample(count=1, seed=1, base={"rows": "2"}), "base: rows must be an integer, not '2'"),
        (lambda: cross((Scenario(),), parse_axes(["dataset=iterable"])), "the grid sweep is empty"),
    ],
)
def test_a_sweep_that_cannot_be_is_an_error(build, message):
    """Empty, oversized and impossible sweeps say so with their numbers."""
    with pytest.raises(ScenarioError) as caught:
        build()
    assert str(caught.value).startswith(message)


def test_a_fixed_field_takes_part_in_the_rules():
    """With an iterable base only the values of max_steps that go with it remain, and the rest is counted."""
    sweep = grid(UNSIZED[1:], base={"dataset": "iterable"})
    assert {s.max_steps for s in sweep.scenarios} == {3}
    assert sum(e.count for e in sweep.exclusions) == 4
    sampled = sample(count=2, seed=0, axes=UNSIZED[1:], base={"dataset": "iterable"})
    assert {s.max_steps for s in sampled.scenarios} == {3}
    assert sum(e.count for e in sampled.exclusions) == 2


def test_crossing_replaces_and_merges():
    """Scenarios that differ only in the crossed axis become one, and that is counted."""
    sweep = cross((Scenario(rows=4), Scenario(rows=5)), parse_axes(["rows=7", "accum=1,2"]))
    assert [(s.rows, s.grad_accum) for s in sweep.scenarios] == [(7, 1), (7, 2)]
    assert sweep.merged == 2
