"""The loops written here against their contracts, over the same drawn space and iterable datasets too."""

from __future__ import annotations

import pytest
from agreement import assert_agreement
from cell_runs import books_of
from drawn_scenarios import scenarios
from hypothesis import HealthCheck, assume, given, settings
from stepaudit.harness.subjects import resolve
from stepaudit.scenarios import DatasetKind, LossProtocol

BOUNDED = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
OF_THE_MODEL = (LossProtocol.NONE, LossProtocol.HONOURED, LossProtocol.IGNORED)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("subject", ["plain", "accelerate"])
@BOUNDED
@given(scenario=scenarios(protocols=OF_THE_MODEL, datasets=tuple(DatasetKind), zero_max_steps=True))
def test_a_correct_loop_satisfies_every_rule(subject, scenario):
    """Both loops agree with their contract in every figure, and no rule has a finding."""
    assume(resolve(subject).supports(scenario) is None)  # the reasons are tested with the subjects
    assert_agreement(books_of(subject, scenario))
