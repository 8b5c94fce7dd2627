"""The space that a fuzz draws from: scenarios of the trace tier, near the boundaries of step arithmetic."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from ...scenarios import (
    DatasetKind,
    FirstLabel,
    LengthProfile,
    LossProtocol,
    LrSchedule,
    OptimizerName,
    Scenario,
)
from ..contract import Contract, terms_of

__all__ = ["boundary_scenarios"]


@st.composite
def boundary_scenarios(
    draw: st.DrawFn, *, contract: Contract, supports: Callable[[Scenario], str | None]
) -> Scenario:
    """Draw a scenario of the trace tier: rows near multiples of B and B·A, max_steps near multiples of U."""
    dataset = draw(st.sampled_from(DatasetKind))
    B, A = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    near = draw(st.sampled_from((B, B * A, B * A))) * draw(st.integers(1, 4))
    rows = max(1, near + draw(st.sampled_from((0, -1, 1, B, -B))))
    shape = Scenario(
        rows=rows,
        per_device_batch_size=B,
        grad_accum=A,
        drop_last=draw(st.booleans()),
        epochs=draw(st.sampled_from((1.0, 2.0, 0.5, 1.5, 3.0))),
    )
    U = terms_of(shape, contract).U
    limits: list[int | None] = [*sorted({max(1, k * U + d) for k in (1, 2) for d in (-1, 0, 1)} | {1, 3, 7})]
    if dataset is DatasetKind.SIZED:
        limits = [None, None, 0, *limits]
    rarely = st.sampled_from((0, 0, 0, 1, 2, 3))
    scenario = shape.with_(
        max_steps=draw(st.sampled_from(limits)),
        dataset=dataset,
        lengths=draw(st.sampled_from((LengthProfile.RAGGED, LengthProfile.RAGGED, LengthProfile.EQUAL))),
        first_label=draw(st.sampled_from(FirstLabel)),
        loss_protocol=draw(st.sampled_from((LossProtocol.HONOURED, *LossProtocol))),
        shuffle=draw(st.booleans()),
        seed=draw(st.integers(0, 2)),
        lr_schedule=draw(st.sampled_from(LrSchedule)),
        warmup_steps=draw(rarely),
        optimizer=draw(st.sampled_from((OptimizerName.SGD, OptimizerName.ADAMW))),
        max_grad_norm=draw(st.sampled_from((1.0, 0.0, 0.1))),
        logging_steps=draw(st.sampled_from((1, 1, 2, 0, 3))),
        eval_steps=draw(rarely),
        save_steps=draw(rarely),
    )
    if supports(scenario) is not None:
        plain = {"loss_protocol": LossProtocol.HONOURED, "dataset": DatasetKind.SIZED, "shuffle": True}
        plain |= {"eval_steps": 0, "save_steps": 0, "drop_last": False}
        for name, value in plain.items():  # towards what every subject supports, one field at a time
            scenario = scenario.with_(**{name: value})
            if supports(scenario) is None:
                break
    return scenario
