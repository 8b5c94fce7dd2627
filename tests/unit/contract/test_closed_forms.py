"""The closed forms: scalar, vectorised and simulated agree, and the invariants of an account hold."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stepaudit.harness.contract import CONTRACTS, Contract, Horizon, Windows, contract_named, expect, terms_of
from stepaudit.harness.contract.vectorised import Columns, predict_columns
from stepaudit.scenarios import Scenario, ScenarioError

BOTH = replace(CONTRACTS["hf-5"], name="ceil-across", windows=Windows.ACROSS_EPOCHS)
FLOOR = replace(CONTRACTS["hf-5"], name="floor-per-epoch", floor_updates=True)
EVERY = (*CONTRACTS.values(), BOTH)

shapes = st.builds(
    Scenario,
    rows=st.integers(1, 60),
    per_device_batch_size=st.integers(1, 9),
    grad_accum=st.integers(1, 20),
    ranks=st.integers(1, 4),
    drop_last=st.booleans(),
    max_steps=st.none() | st.integers(0, 40),
    epochs=st.floats(0.01, 6.0) | st.sampled_from([0.1 + 0.2, 1 / 3, 2.9999999999999996, 1e-9]),
)


def columns_of(scenarios) -> Columns:
    return Columns(
        rows=np.array([item.rows for item in scenarios], dtype=np.int64),
        per_device_batch_size=np.array([item.per_device_batch_size for item in scenarios], dtype=np.int64),
        grad_accum=np.array([item.grad_accum for item in scenarios], dtype=np.int64),
        ranks=np.array([item.ranks for item in scenarios], dtype=np.int64),
        max_steps=np.array([item.max_steps or 0 for item in scenarios], dtype=np.int64),
        epochs=np.array([item.epochs for item in scenarios]),
        drop_last=np.array([item.drop_last for item in scenarios]),
    )


def simulated_ends(scenario: Scenario, contract: Contract) -> list[int]:
    """Walk through the micro-batches as the loop does, without any closed form: count until a window closes."""
    micro_batches = 0
    packed = contract.rows_per_sequence
    reads = [range(start, min(start + packed, scenario.rows)) for start in range(0, scenario.rows, packed)]
    step = scenario.per_device_batch_size * scenario.ranks
    epoch_of = [reads[start : start + step] for start in range(0, len(reads), step)]
    if scenario.drop_last and epoch_of and len(epoch_of[-1]) < step:
        epoch_of.pop()
    if not epoch_of:
        return []
    T = terms_of(scenario, contract).T
    ends: list[int] = []
    waiting = 0
    epochs = 0
    while len(ends) < T and epochs < 10_000:
        if contract.windows is Windows.ACROSS_EPOCHS and epochs == terms_of(scenario, contract).E:
            break
        if contract.horizon is Horizon.WHICHEVER_FIRST and epochs >= scenario.epochs:
            break
        for number, _ in enumerate(epoch_of, start=1):
            micro_batches += 1
            waiting += 1
            last = number == len(epoch_of)
            if contract.windows is Windows.PER_EPOCH:
                closes = waiting == scenario.grad_accum or last
            else:
                fits = len(epoch_of) <= scenario.grad_accum
                closes = micro_batches % scenario.grad_accum == 0 or (fits and last)
            if closes:
                ends.append(micro_batches)
                waiting = 0
                if len(ends) == T:
                    break
        epochs += 1
    return ends


@pytest.mark.parametrize("contract", EVERY, ids=lambda item: item.name)
@given(scenario=shapes)
@settings(max_examples=400, deadline=None)
def test_scalar_form_is_a_walk_through_the_micro_batches(contract, scenario):
    """The windows of `expect` are those of a loop that counts micro-batches one by one."""
    ends = simulated_ends(scenario, contract)
    expected = expect(scenario, contract)
    assert list(expected.windows) == [end - start for start, end in zip([0, *ends], ends, strict=False)]
    assert expected.micro_batches == (ends[-1] if ends else 0)


@pytest.mark.parametrize("contract", EVERY, ids=lambda item: item.name)
@given(scenario=shapes)
@settings(max_examples=400, deadline=None)
def test_invariants(contract, scenario):
    """Windows add up to the micro-batches, none exceeds A, epochs only grow, T is reached or the data ends."""
    expected = expect(scenario, contract)
    terms = expected.terms
    assert sum(expected.windows) == expected.micro_batches
    assert all(1 <= size <= scenario.grad_accum for size in expected.windows)
    assert expected.optimizer_steps == len(expected.windows) == len(expected.learning_rates)
    advances = scenario.ranks if contract.advances_per_rank else 1
    assert expected.scheduler_steps == expected.optimizer_steps * advances
    assert expected.optimizer_steps <= terms.T
    assert list(expected.epochs_after) == sorted(set(expected.epochs_after))
    assert all(rate >= 0 for rate in expected.learning_rates)
    if terms.M:
        assert expected.epochs_entered == -(-expected.micro_batches // terms.M) <= terms.E
        assert expected.epochs_after[-1] == Fraction(expected.micro_batches, terms.M)
    else:
        assert (terms.T, terms.E, expected.optimizer_steps) == (0, 0, 0)
    if contract.windows is Windows.PER_EPOCH and terms.M:
        assert expected.optimizer_steps == terms.T
        assert expected.epochs_entered == terms.E or not scenario.max_steps
        for epoch in range(expected.micro_batches // terms.M):
            inside = [
                size
                for size, end in zip(expected.windows, expected.epochs_after, strict=True)
                if epoch < end <= epoch + 1
            ]
            assert sum(inside) == terms.M, "windows partition every complete epoch"
            assert len(inside) == terms.U


@pytest.mark.parametrize("contract", EVERY, ids=lambda item: item.name)
@given(scenarios=st.lists(shapes, min_size=1, max_size=50))
@settings(max_examples=100, deadline=None)
def test_columns_agree_with_the_scalar_form(contract, scenarios):
    """`predict_columns` gives the integers of `expect`, drawn point by drawn point."""
    predicted = predict_columns(columns_of(scenarios), contract)
    for index, scenario in enumerate(scenarios):
        expected = expect(scenario, contract)
        terms = expected.terms
        columns = (
            predicted.M,
            predicted.U,
            predicted.T,
            predicted.optimizer_steps,
            predicted.micro_batches,
            predicted.epochs_entered,
        )
        got = tuple(int(column[index]) for column in columns)
        want = (
            terms.M,
            terms.U,
            terms.T,
            expected.optimizer_steps,
            expected.micro_batches,
            expected.epochs_entered,
        )
        assert got == want, scenario.label


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda item: item.name)
def test_columns_agree_with_exact_arithmetic_over_a_grid_of_millions(contract):
    """Over 2.4 million points the columns satisfy the definitions in integers and exact rationals of their own."""
    rows, batch, accum, ranks, limit, epochs, drop = (
        axis.ravel()
        for axis in np.meshgrid(
            np.arange(1, 81),
            np.arange(1, 9),
            np.array([1, 2, 3, 4, 5, 8, 16, 40]),
            np.array([1, 2, 3]),
            np.array([0, 1, 2, 3, 5, 7, 10, 23]),
            np.array([0.5, 1.0, 1.5, 2.0, 3.0, 1 / 3, 0.1 + 0.2, 2.75, 10.0, 0.01]),
            np.array([False, True]),
            indexing="ij",
        )
    )
    assert len(rows) > 2_000_000
    predicted = predict_columns(
        Columns(
            rows=rows,
            per_device_batch_size=batch,
            grad_accum=accum,
            ranks=ranks,
            max_steps=limit,
            epochs=epochs,
            drop_last=drop,
        ),
        contract,
    )
    rows = (rows + contract.rows_per_sequence - 1) // contract.rows_per_sequence
    M = np.where(drop, rows // (batch * ranks), (rows + batch * ranks - 1) // (batch * ranks))
    assert np.array_equal(predicted.M, M)
    U = np.maximum(M // accum, 1) if contract.floor_updates else np.maximum(M // accum + (M % accum > 0), 1)
    assert np.array_equal(predicted.U, U)
    some = M > 0
    limited = some & (limit > 0)
    if contract.horizon is Horizon.MAX_STEPS:
        assert np.array_equal(predicted.T[limited], limit[limited])
    else:
        assert (predicted.T[limited] <= limit[limited]).all()
        ended = limited & (limit > predicted.T)
        assert (
            (predicted.T[ended] >= (epochs * U)[ended]) & (predicted.T[ended] - 1 < (epochs * U)[ended])
        ).all()
        assert (predicted.T[limited & ~ended] - 1 < (epochs * U)[limited & ~ended]).all()
    assert not predicted.T[~some].any()
    assert not predicted.micro_batches[~some].any()
    free = some & (limit == 0)
    # T is the least integer that is not below epochs·U, as the trainer's own float product has it
    product = epochs[free] * U[free]
    assert ((predicted.T[free] >= product) & (predicted.T[free] - 1 < product)).all()
    assert (predicted.optimizer_steps <= predicted.T).all()
    assert (predicted.micro_batches <= predicted.optimizer_steps * accum).all()
    assert (predicted.micro_batches >= predicted.optimizer_steps).all()
    assert (predicted.epochs_entered[some] == -(-predicted.micro_batches[some] // M[some])).all()
    if contract.windows is Windows.PER_EPOCH:
        assert np.array_equal(predicted.optimizer_steps, predicted.T)
        whole = some & (predicted.T % U == 0)
        assert np.array_equal(predicted.micro_batches[whole], (predicted.T // U * M)[whole])


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda item: item.name)
def test_columns_agree_with_the_scalar_form_on_a_sample_of_the_grid(contract):
    """A seeded sample of large points, far beyond what a test could run."""
    random = np.random.default_rng(7)
    count = 300
    rows = random.integers(1, 200_000, count)
    columns = Columns(
        rows=rows,
        per_device_batch_size=random.integers(1, 64, count),
        grad_accum=random.integers(1, 128, count),
        ranks=random.integers(1, 9, count),
        max_steps=random.integers(0, 400, count) * random.integers(0, 2, count),
        epochs=random.uniform(0.001, 0.05, count),
        drop_last=random.integers(0, 2, count).astype(bool),
    )
    predicted = predict_columns(columns, contract)
    for index in range(count):
        scenario = Scenario(
            rows=int(columns.rows[index]),
            per_device_batch_size=int(columns.per_device_batch_size[index]),
            grad_accum=int(columns.grad_accum[index]),
            ranks=int(columns.ranks[index]),
            max_steps=int(columns.max_steps[index]),
            epochs=float(columns.epochs[index]),
            drop_last=bool(columns.drop_last[index]),
        )
        expected = expect(scenario, contract)
        assert int(predicted.optimizer_steps[index]) == expected.optimizer_steps
        assert int(predicted.micro_batches[index]) == expected.micro_batches
        assert int(predicted.epochs_entered[index]) == expected.epochs_entered


def test_the_founding_numbers():
    """5590 rows in batches of 4, four to a window, 350 updates: DESIGN's first example."""
    scenario = Scenario(rows=5590, per_device_batch_size=4, grad_accum=4, max_steps=350)
    terms = terms_of(scenario, CONTRACTS["hf-5"])
    assert (terms.M, terms.U, terms.T, terms.E) == (1398, 350, 350, 1)
    assert expect(scenario, CONTRACTS["hf-5"]).windows == (4,) * 349 + (2,)


def test_unknown_contract_names_the_nearest():
    """A misspelt contract is told apart from a missing one."""
    with pytest.raises(ScenarioError, match=r"did you mean 'hf-4\.45'"):
        contract_named("hf-4.455")
