"""The space of scenarios that the differential tests draw from, and why parts of it are left out."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from stepaudit.harness.contract import CONTRACTS, expect, terms_of
from stepaudit.scenarios import (
    DatasetKind,
    FirstLabel,
    LengthProfile,
    LossProtocol,
    LrSchedule,
    OptimizerName,
    Scenario,
)

__all__ = ["filled", "has_long_window", "scenarios"]

EPOCHS = (0.25, 0.5, 1.0, 1.0, 1.5, 2.0, 2.5, 3.0, 1 / 3, 0.1 + 0.2)


@st.composite
def scenarios(
    draw: st.DrawFn,
    *,
    contract: str = "hf-5",
    protocols: tuple[LossProtocol, ...] = tuple(LossProtocol),
    datasets: tuple[DatasetKind, ...] = (DatasetKind.SIZED,),
    zero_max_steps: bool = False,
) -> Scenario:
    """Draw a scenario of the trace tier: small enough to be quick, large enough to cross several epochs."""
    dataset = draw(st.sampled_from(datasets))
    shape = Scenario(
        rows=draw(st.integers(1, 24)),
        per_device_batch_size=draw(st.integers(1, 5)),
        grad_accum=draw(st.integers(1, 6)),
        drop_last=draw(st.booleans()),
        epochs=draw(st.sampled_from(EPOCHS) | st.floats(0.05, 3.0)),
    )
    U = terms_of(shape, CONTRACTS[contract]).U
    limits = sorted({max(1, edge + off) for edge in (U, 2 * U) for off in (-1, 0, 1)} | {1, 3, 7})
    if zero_max_steps and dataset is DatasetKind.SIZED:
        limits.append(0)
    limit = (
        draw(st.sampled_from(limits))
        if dataset is DatasetKind.ITERABLE
        else draw(st.sampled_from([None, *limits]))
    )
    shape = shape.with_(max_steps=limit, dataset=dataset)
    T = terms_of(shape, CONTRACTS[contract]).T
    rarely = st.sampled_from([0, 0, 0, 1, 2, 3])
    return shape.with_(
        lengths=draw(st.sampled_from(LengthProfile)),
        first_label=draw(st.sampled_from(FirstLabel)),
        loss_protocol=draw(st.sampled_from(protocols)),
        shuffle=draw(st.booleans()),
        seed=draw(st.integers(0, 3)),
        lr_schedule=draw(st.sampled_from(LrSchedule)),
        warmup_steps=draw(st.sampled_from([0, 0, 1, 2, max(T - 1, 0), T, T + 2])),
        learning_rate=draw(st.sampled_from([0.01, 0.5, 5e-5, 1 / 3])),
        optimizer=draw(st.sampled_from(OptimizerName)),
        max_grad_norm=draw(st.sampled_from([0.0, 0.02, 0.3, 1.0, 1.0, 100.0])),
        logging_steps=draw(st.sampled_from([0, 1, 1, 2, 3])),
        eval_steps=draw(rarely),
        save_steps=draw(rarely),
    )


def has_long_window(scenario: Scenario, contract: str = "hf-5") -> bool:
    """Whether some window has more than one micro-batch."""
    return any(size > 1 for size in expect(scenario, CONTRACTS[contract]).windows)


def filled(
    plan: list[Scenario],
    cells: int,
    *,
    contract: str,
    most: int,
    taken: Callable[[Scenario], Scenario | None],
) -> list[Scenario]:
    """Return the plan with drawn scenarios added until it has so many cells, always the same ones.

    Args:
        plan: what comes first.
        cells: how many are wanted; fewer come of `most` draws that are not taken.
        contract: name of the one whose space is drawn from.
        most: draws.
        taken: a drawn scenario as it is to be run, or None where it is not.
    """
    plan = list(plan)

    @settings(
        max_examples=most,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(scenario=scenarios(contract=contract))
    def collect(scenario):
        found = taken(scenario) if len(plan) < cells else None
        if found is not None and found not in plan:
            plan.append(found)

    collect()
    return plan[:cells]
