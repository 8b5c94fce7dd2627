"""The tracer: a real model whose gradient is the books; rows carry their id whatever a trainer does to them."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stepaudit.harness.workloads.rows import EVAL_ROWS, IGNORE_INDEX, pad_token, row_tensors
from stepaudit.harness.workloads.tracer import build_tracer
from stepaudit.harness.workloads.tracing import TraceWorkload
from stepaudit.scenarios import FirstLabel, LengthProfile, LossProtocol, Scenario
from stepaudit.scenarios.lengths import label_tokens_of_row, longest, row_length
from torch.utils.data import default_collate
from transformers import GenerationMixin, PreTrainedModel

shapes = st.builds(
    Scenario,
    rows=st.integers(1, 12),
    lengths=st.sampled_from(LengthProfile),
    first_label=st.sampled_from(FirstLabel),
    loss_protocol=st.sampled_from(LossProtocol),
)


def workload_of(scenario: Scenario) -> TraceWorkload:
    return TraceWorkload(scenario, lambda *args: None, lambda: 0)


@given(scenario=shapes, data=st.data())
@settings(deadline=None, max_examples=200)
def test_the_gradient_is_the_books(scenario, data):
    """One backward over any batch weighs every label token 1/N exactly, and the forward's rows are recognised."""
    workload = workload_of(scenario)
    chosen = data.draw(st.lists(st.integers(0, scenario.rows - 1), min_size=1, unique=True))
    batch = default_collate([workload.train_dataset[row] for row in chosen])
    output = workload.model(**batch)
    output.loss.backward()
    counts = [label_tokens_of_row(row, scenario.lengths) for row in chosen]
    weights = workload.weights(workload.model)
    assert set(weights) == set(chosen)
    assert all(abs(weight - float(Fraction(1, sum(counts)))) <= 2**-50 for weight in weights.values())
    sight = workload.identify(batch["input_ids"], batch["labels"], batch["attention_mask"])
    assert (sight.rows, sight.label_tokens) == (tuple(chosen), tuple(counts))
    assert sight.input_tokens == int(batch["attention_mask"].sum())
    assert workload.identify(batch["input_ids"], None, None).label_tokens == tuple(counts)


@pytest.mark.parametrize("protocol", LossProtocol)
def test_protocols(protocol):
    """Which model divides by what it is handed, which refuses the keyword, which swallows it."""
    scenario = Scenario(rows=2, lengths="equal", loss_protocol=protocol)
    workload = workload_of(scenario)
    batch = default_collate([workload.train_dataset[0], workload.train_dataset[1]])
    own = workload.model(**batch).loss.item()
    if protocol is LossProtocol.NONE:
        with pytest.raises(TypeError, match="num_items_in_batch"):
            workload.model(**batch, num_items_in_batch=80)
        return
    handed = workload.model(**batch, num_items_in_batch=80).loss.item()
    assert handed == (own if protocol is LossProtocol.IGNORED else own / 10)


def test_a_real_model(tmp_path):
    """A PreTrainedModel that can generate, save and load, in float64, one parameter a row and a token of padding."""
    scenario = Scenario(rows=5)
    model = build_tracer(scenario)
    assert isinstance(model, PreTrainedModel)
    assert isinstance(model, GenerationMixin)
    assert model.rows.dtype is torch.float64
    assert model.rows.numel() == 5 + EVAL_ROWS + 1
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path, dtype=torch.float64)
    assert torch.equal(loaded.rows, model.rows)
    assert sum(parameter.numel() for parameter in model.parameters()) == model.rows.numel()


@given(row=st.integers(0, 10**6), lengths=st.sampled_from(LengthProfile), first=st.sampled_from(FirstLabel))
def test_rows(row, lengths, first):
    """One length for all rows; labels, attention and padding are where the closed form says."""
    scenario = Scenario(rows=row + 1, lengths=lengths, first_label=first)
    tensors = row_tensors(row, scenario)
    count = label_tokens_of_row(row, lengths)
    assert 1 <= count <= longest(lengths)
    assert {tensor.shape for tensor in tensors.values()} == {(row_length(scenario),)}
    assert int((tensors["labels"][1:] != IGNORE_INDEX).sum()) == count
    assert bool(tensors["labels"][0] == IGNORE_INDEX) is (first is FirstLabel.MASKED)
    assert int(tensors["attention_mask"].sum()) == count + 1
    assert set(tensors["input_ids"].tolist()) <= {row, pad_token(scenario)}


def test_ragged_rows_are_ragged():
    """Neighbouring rows differ, and no short period hides a wrong weighting."""
    counts = [label_tokens_of_row(row, LengthProfile.RAGGED) for row in range(200)]
    assert set(counts) == set(range(1, 8))
    assert all(counts[:-period] != counts[period:] for period in range(1, 60))


def test_out_of_range():
    """A dataset of n rows has exactly n."""
    dataset = workload_of(Scenario(rows=3)).train_dataset
    assert len(dataset) == 3
    for index in (-1, 3):
        with pytest.raises(IndexError, match="dataset of 3 rows"):
            dataset[index]


def test_fetches_are_told():
    """Which rows leave the dataset, singly, in batches, or by iteration with the number of their pass."""
    seen = []
    sized = TraceWorkload(Scenario(rows=4), lambda *args: seen.append(args), lambda: 0).train_dataset
    sized[2]
    sized.__getitems__([1, 3])
    assert seen == [([2],), ([1, 3],)]
    seen.clear()
    scenario = Scenario(rows=2, dataset="iterable", max_steps=1)
    iterable = TraceWorkload(scenario, lambda *args: seen.append(args), lambda: 7).train_dataset
    list(iterable)
    assert seen == [([0], 7), ([1], 7)]
    with pytest.raises(TypeError):
        len(iterable)
