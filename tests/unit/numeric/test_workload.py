"""Rows are recognised by content, however a trainer lays them out; models are the same for the same seed."""

from __future__ import annotations

import pytest
import torch
from stepaudit.harness.workloads.numeric import NumericWorkload
from stepaudit.harness.workloads.text import PAD
from stepaudit.scenarios import Scenario


def workload(**changes):
    return NumericWorkload(
        Scenario(**({"rows": 40, "model": "tiny-llama", "tier": "numeric"} | changes)),
        lambda rows: None,
        lambda: None,
    )


@pytest.mark.parametrize("lengths", ["ragged", "equal"])
@pytest.mark.parametrize("first_label", ["counted", "masked"])
def test_rows_are_recognised_in_a_batch(lengths, first_label):
    """Row ids, their label tokens after the shift, and the tokens that are no padding."""
    work = workload(lengths=lengths, first_label=first_label)
    batch = work.batch([3, 17, 39])
    sight = work.identify(batch["input_ids"], batch["labels"], None)
    assert sight.rows == (3, 17, 39)
    assert sight.label_tokens == tuple(work.label_tokens(row) for row in sight.rows)
    assert sum(sight.label_tokens) == int((batch["labels"][:, 1:] != -100).sum())
    assert sight.input_tokens == int(batch["attention_mask"].sum())
    assert work.identify(batch["input_ids"], None, None).label_tokens == sight.label_tokens


def test_rows_are_recognised_packed_and_padded_on_either_side():
    """One sequence of three rows, and padding wherever it is."""
    work = workload()
    parts = [work._alone(row)["input_ids"][0] for row in (5, 0, 21)]
    packed = torch.cat([torch.tensor([PAD, PAD]), *parts, torch.tensor([PAD])])[None]
    assert work.identify(packed, None, None).rows == (5, 0, 21)


def test_a_cut_row_is_recognised_where_it_is_one_rows_beginning():
    """And what begins several rows, or none, is an error that shows the tokens."""
    work = workload()
    tokens = work._alone(4)["input_ids"][:, :-1]
    assert work.identify(tokens, None, None).rows == (4,)
    with pytest.raises(ValueError, match="begin 0 rows"):
        work.identify(torch.tensor([[256, 1, 2, 3]]), None, None)


def test_rows_differ_in_length_and_in_content():
    """Ragged rows have many lengths, and no row begins another."""
    work = workload(rows=200)
    texts = [tokens for tokens, _ in work._texts]
    assert len({len(tokens) for tokens in texts}) > 10
    assert len(set(texts)) == len(texts)
    labels = {work.label_tokens(row) for row in range(200)}
    assert len(labels) > 10


@pytest.mark.parametrize("model", ["tiny-llama", "tiny-llama-lora"])
def test_a_fresh_model_is_the_first_one(model):
    """Built twice it has the same bits, another seed gives others, and the global random state is untouched."""
    work = workload(model=model)
    before = torch.get_rng_state()
    again = dict(work.fresh_model().named_parameters())
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(parameter, again[name]) for name, parameter in work.model.named_parameters())
    other = dict(workload(model=model, seed=1).model.named_parameters())
    assert not all(torch.equal(parameter, other[name]) for name, parameter in again.items())


@pytest.mark.parametrize("model", ["tiny-llama", "tiny-llama-lora"])
def test_every_trained_parameter_has_a_gradient_well_above_rounding(model):
    """Else momenta would turn rounding noise into updates, and no envelope would hold anything."""
    work = workload(model=model, rows=8)
    batch = work.batch(range(8))
    work.model(**batch).loss.backward()
    norms = {n: float(p.grad.norm()) for n, p in work.model.named_parameters() if p.requires_grad}
    assert min(norms.values()) > 1e-4 * max(norms.values()), norms
