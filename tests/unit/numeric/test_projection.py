"""Weights by projection: exact where they are known, silent where nothing can be told, and without a trace."""

from __future__ import annotations

import copy
import math
import random

import numpy as np
import pytest
import torch
from stepaudit.harness.oracle.losses import row_losses
from stepaudit.harness.oracle.projection import Projection
from stepaudit.harness.workloads.numeric import NumericWorkload
from stepaudit.scenarios import Scenario

SCENARIO = Scenario(rows=16, model="tiny-llama", tier="numeric")


def workload(**changes):
    return NumericWorkload(SCENARIO.with_(**changes), lambda rows: None, lambda: None)


def give_gradient(model, work, weights):
    """Leave Σ wᵢ·∇(token losses of row i) in the model, micro-batches of two rows."""
    model.zero_grad()
    rows = list(weights)
    for at in range(0, len(rows), 2):
        pair = rows[at : at + 2]
        factors = torch.tensor([weights[row] for row in pair], dtype=next(model.parameters()).dtype)
        (row_losses(model, work.batch(pair)) * factors).sum().backward()


def worst(found, true):
    return max(abs(found[row] - weight) / abs(weight) for row, weight in true.items())


@pytest.mark.parametrize(
    ("dtype", "limit"),
    [
        # float64 throughout: some thousand roundings of 2^-53 an element, most of which average out
        (torch.float64, 1e-13),
        # the gradient that is weighed is rounded to 2^-24 an element; over 26,000 elements that averages out too
        (torch.float32, 1e-6),
    ],
)
@pytest.mark.parametrize("model", ["tiny-llama", "tiny-llama-lora"])
def test_known_weights_are_found(dtype, limit, model):
    """Sixteen rows with weights over three orders of magnitude, of either sign."""
    work = workload(model=model)
    subject = work.exact_model() if dtype is torch.float64 else work.fresh_model()
    projection = Projection(work.exact_model(), work._alone)
    generator = random.Random(7)
    true = {row: generator.choice([-1, 1]) * 10 ** generator.uniform(-3, 0) for row in range(16)}
    give_gradient(subject, work, true)
    found = projection.weigh(subject, list(true))
    error = worst(found.weights, true)
    print(f"{model} {dtype}: weights right to {error:.1e}, residual {found.residual:.1e}")
    spread = max(map(abs, true.values())) / min(
        map(abs, true.values())
    )  # noise is as large as the heaviest row
    assert error < limit * spread
    assert found.residual < limit


def test_a_sketch_finds_the_same_weights():
    """A gradient that is a weighting of rows is one in any linear image of it; 200 dimensions for 16 rows."""
    work = workload()
    true = {row: 1.0 / (row + 3) for row in range(16)}
    subject = work.exact_model()
    give_gradient(subject, work, true)
    found = Projection(work.exact_model(), work._alone, dims=200).weigh(subject, list(true))
    assert worst(found.weights, true) < 1e-9
    assert found.residual < 1e-9


def test_only_every_nth_update_is_weighed():
    """The others say that they were not, by None, never by an empty table."""
    work = workload()
    subject = work.fresh_model()
    give_gradient(subject, work, {0: 0.5, 1: 0.5})
    projection = Projection(work.exact_model(), work._alone, every=3)
    found = [projection.weigh(subject, [0, 1]).weights for _ in range(7)]
    assert [weights is None for weights in found] == [False, True, True, False, True, True, False]


def test_a_gradient_of_something_else_is_residual():
    """The share that no weighting explains is measured, the weights beside it stay right."""
    work = workload()
    subject = work.exact_model()
    give_gradient(subject, work, {0: 0.5, 1: 0.25})
    norm = math.sqrt(sum(float(p.grad.norm()) ** 2 for p in subject.parameters()))
    torch.manual_seed(1)
    noise = [torch.randn_like(p) for p in subject.parameters()]
    size = math.sqrt(sum(float(n.norm()) ** 2 for n in noise))
    for parameter, part in zip(subject.parameters(), noise, strict=True):
        parameter.grad += part * (0.1 * norm / size)
    found = Projection(work.exact_model(), work._alone).weigh(subject, [0, 1])
    assert found.residual == pytest.approx(0.1, rel=0.05)
    assert worst(found.weights, {0: 0.5, 1: 0.25}) < 0.02


def test_rows_of_the_window_before_are_found_in_the_gradient():
    """A gradient that was not zeroed is named by its rows, at the weights that they had."""
    work = workload()
    subject = work.exact_model()
    projection = Projection(work.exact_model(), work._alone)
    give_gradient(subject, work, {0: 0.5, 1: 0.5})
    assert set(projection.weigh(subject, [0, 1]).weights) == {0, 1}
    kept = [parameter.grad.clone() for parameter in subject.parameters()]
    with torch.no_grad():
        for parameter in subject.parameters():
            parameter.sub_(0.1 * parameter.grad)
    give_gradient(subject, work, {2: 0.3, 3: 0.7})
    for parameter, gradient in zip(subject.parameters(), kept, strict=True):
        parameter.grad.add_(gradient)
    found = projection.weigh(subject, [2, 3])
    assert worst(found.weights, {0: 0.5, 1: 0.5, 2: 0.3, 3: 0.7}) < 1e-8


def test_what_cannot_be_told_is_not_guessed():
    """NaN is a residual, no gradient is no weights, rows that cannot be told apart have none."""
    work = workload()
    subject = work.fresh_model()
    projection = Projection(work.exact_model(), work._alone)
    assert projection.weigh(subject, [0]).weights == {}
    give_gradient(subject, work, {0: 1.0, 1: 1.0})
    next(iter(subject.parameters())).grad.view(-1)[0] = math.nan
    assert math.isnan(projection.weigh(subject, [0, 1]).residual)
    same = Projection(work.exact_model(), lambda row: work._alone(0))
    give_gradient(subject, work, {0: 1.0})
    unclear = same.weigh(subject, [0, 1])
    assert (unclear.weights, unclear.residual) == (None, None)


def test_weighing_leaves_no_trace():
    """Gradients, parameters, buffers, modes, hooks and all random states are what they were."""
    work = workload()
    subject = work.fresh_model()
    give_gradient(subject, work, {0: 0.5, 1: 0.5})
    subject.train()
    next(iter(subject.modules())).register_forward_hook(lambda *_: pytest.fail("the model was run"))
    before = copy.deepcopy(subject.state_dict()), [p.grad.clone() for p in subject.parameters()]
    random_states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    modes = [(name, module.training) for name, module in subject.named_modules()]
    with torch.no_grad():
        work.weigh(subject, [0, 1])
    assert all(torch.equal(value, before[0][name]) for name, value in subject.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(subject.parameters(), before[1], strict=True))
    assert torch.equal(torch.get_rng_state(), random_states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == random_states[1:]
    assert modes == [(name, module.training) for name, module in subject.named_modules()]
    assert torch.is_grad_enabled()
