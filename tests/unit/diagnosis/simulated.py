"""Simulated trainers: a formula in Python, and records as if a trainer had followed it; no torch."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from stepaudit.harness.contract import CONTRACTS, Terms, terms_of
from stepaudit.harness.diagnosis import Space
from stepaudit.harness.ledger import CellRecord, Claims, OptimizerStep, Outcome
from stepaudit.scenarios import Scenario

__all__ = ["CONTRACT", "FAULTS", "drawn", "records_of", "space"]

CONTRACT = CONTRACTS["hf-5"]

Steps = Callable[[Scenario, Terms], int]


REFUSES_DROP_LAST = frozenset({"break leaves the inner loop, epochs from rows"})
"""as the real release does"""


def _supports(scenario: Scenario) -> str | None:
    return None if terms_of(scenario, CONTRACT).M else "drop_last leaves no micro-batch"


def space(fault: str = "") -> Space:
    """What a simulated trainer can be asked for: all in which something can be trained."""
    drop_last = (False,) if fault in REFUSES_DROP_LAST else (False, True)
    return Space(templates=(Scenario(),), supports=_supports, contract=CONTRACT, drop_last=drop_last)


def drawn(count: int, seed: int, fault: str = "") -> list[Scenario]:
    """Random scenarios."""
    found = space(fault).draw(count, seed=seed)
    assert len(found) == count
    return list(found)


def records_of(steps: Steps) -> Callable[[Sequence[Scenario]], list[CellRecord]]:
    """Return a function that runs a simulated trainer."""
    return lambda scenarios: [_record(item, steps(item, terms_of(item, CONTRACT))) for item in scenarios]


def _record(scenario: Scenario, count: int) -> CellRecord:
    update = OptimizerStep(learning_rates=(0.01,), grad_norm=None, weights=None, suppressed=False)
    return CellRecord(
        cell_id=f"{random.Random(scenario.label).getrandbits(64):x}",
        scenario=scenario,
        subject="simulated",
        contract=CONTRACT.name,
        versions={},
        device="cpu",
        outcome=Outcome.COMPLETED,
        events=(update,) * count,
        claims=Claims(global_step=count, planned_steps={"state": terms_of(scenario, CONTRACT).T}),
    )


def overrunning_2024(scenario: Scenario, terms: Terms) -> int:
    """Epochs from floored updates; the inner loop alone is left at the target."""
    floored = max(terms.M // terms.A, 1)
    if scenario.max_steps:
        target, epochs = scenario.max_steps, -(-scenario.max_steps // floored)
    else:
        target, epochs = math.ceil(scenario.epochs * floored), math.ceil(scenario.epochs)
    return _left_inside_only(target, epochs, terms.U)


def overrunning_2026(scenario: Scenario, terms: Terms) -> int:
    """Epochs from rows; the inner loop alone is left at the target."""
    if not scenario.max_steps:
        return terms.T
    epochs = math.ceil(scenario.max_steps * terms.B * terms.A / scenario.rows)
    return _left_inside_only(scenario.max_steps, epochs, terms.U)


def _left_inside_only(target: int, epochs: int, a_pass: int) -> int:
    done = 0
    for _ in range(epochs):
        for _ in range(a_pass):
            done += 1
            if done == target:
                break
    return done


FAULTS: dict[str, Steps] = {
    "break leaves the inner loop, epochs from floored updates": overrunning_2024,
    "break leaves the inner loop, epochs from rows": overrunning_2026,
    "one more": lambda _, t: t.T + 1,
    "every window counted once a micro-batch": lambda _, t: t.T * t.A,
    "capped at one epoch": lambda _, t: min(t.T, t.U),
    "stops after two passes": lambda _, t: min(t.T, 2 * t.U),
    "whole epochs only": lambda _, t: t.E * t.U,
    "short windows never stepped": lambda _, t: t.E * (t.M // t.A),
    "epochs rounded up": lambda s, t: t.T if s.max_steps else math.ceil(s.epochs) * t.U,
    "epochs rounded down": lambda s, t: t.T if s.max_steps else math.floor(s.epochs) * t.U,
    "rows taken for updates": lambda s, t: t.T if s.max_steps else math.ceil(s.epochs * t.rows),
    "one less only where one row is left over": lambda _, t: t.T - (t.rows % (t.B * t.A * t.R) == 1),
    "one more only with accumulation": lambda _, t: t.T + (t.A > 1),
    "target in micro-batches": lambda _, t: -(-t.T // t.A),
}
"""Seeded faults in the number of optimizer steps, each with the formula that it follows."""
