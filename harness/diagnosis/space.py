"""Scenarios of the space that a sweep's cells come from: probes, scenarios that tell formulas apart, held-out ones."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...scenarios import DatasetKind, Scenario
from ..contract import Contract, expect
from .inference import Candidate

__all__ = ["Space", "telling_apart"]

Supports = Callable[[Scenario], str | None]

_EPOCHS = (0.25, 0.5, 1.0, 1.0, 1.5, 2.0, 2.0, 2.75, 3.0)
_BATCHES = (1, 2, 2, 3, 4, 5)
_ACCUMULATIONS = (1, 2, 2, 3, 4, 4, 5, 6, 8)
_PATIENCE = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """Where scenarios are drawn.

    Attributes:
        templates: scenarios whose other fields (data, model, schedule, logs) are taken over.
        supports: why the subject cannot run a scenario, or None.
        contract: predicts what a cell costs.
        most_micro_batches: larger cells are not drawn.
        drop_last: the values that are drawn; a subject may crash on one of them.
    """

    templates: tuple[Scenario, ...]
    supports: Supports
    contract: Contract
    most_micro_batches: int = 160
    drop_last: tuple[bool, ...] = (False, False, True)

    def draw(self, count: int, *, seed: int, without: Sequence[Scenario] = ()) -> tuple[Scenario, ...]:
        """Return distinct random scenarios, none of them in `without`; fewer where the space has no more."""
        generator = random.Random(seed)
        avoid = set(without)
        found: dict[Scenario, None] = {}
        for _ in range(count * _PATIENCE):
            scenario = self._one(generator)
            if scenario not in avoid and scenario not in found and self._fits(scenario):
                found[scenario] = None
                if len(found) == count:
                    break
        return tuple(found)

    def _one(self, generator: random.Random) -> Scenario:
        """Draw a template, and the numbers that step arithmetic reads, near their boundaries more often than not."""
        template = generator.choice(self.templates)
        B, A = generator.choice(_BATCHES), generator.choice(_ACCUMULATIONS)
        window = B * A * template.ranks
        near = generator.choice((B * template.ranks, window, window)) * generator.randint(1, 6)
        rows = max(1, near + generator.choice((-1, 0, 0, 1, generator.randint(0, window))))
        U = max(1, math.ceil(rows / window))
        around = max(1, generator.randint(1, 3) * U + generator.randint(-1, 1))
        limits: list[int | None] = [generator.randint(1, 24), around]
        if template.dataset is DatasetKind.SIZED:
            limits += [None, None, 0] if generator.random() < 0.5 else [None]
        return template.with_(
            rows=rows,
            per_device_batch_size=B,
            grad_accum=A,
            max_steps=generator.choice(limits),
            epochs=generator.choice(_EPOCHS),
            drop_last=generator.choice(self.drop_last),
        )

    def _fits(self, scenario: Scenario) -> bool:
        if self.supports(scenario) is not None:
            return False
        return expect(scenario, self.contract).micro_batches <= self.most_micro_batches


def telling_apart(
    candidates: Sequence[Candidate], probes: Sequence[Scenario], *, most: int, tried: Sequence[Scenario] = ()
) -> Iterator[Scenario]:
    """Yield the scenarios that split the candidates best, each after those before it; small ones first among equals.

    Args:
        candidates: different functions on the probes.
        probes: the scenarios that their signatures are about.
        most: how many to yield.
        tried: scenarios that have been run, or cannot be.
    """
    values_CP = np.stack([candidate.signature for candidate in candidates])
    group_C: NDArray[np.int64] = np.zeros(len(candidates), dtype=np.int64)
    done = set(tried)
    sizes = np.array([scenario.rows * scenario.grad_accum for scenario in probes], dtype=np.float64)
    open_P = np.array([scenario not in done for scenario in probes])
    for _ in range(most):
        parts_P = _parts(values_CP, group_C)
        if parts_P.max(initial=0) <= group_C.max() + 1:
            return  # nothing splits a group further
        score_P = np.where(open_P, parts_P - 1e-6 * sizes, -np.inf)
        best = int(score_P.argmax())
        if not open_P[best]:
            return
        yield probes[best]
        open_P[best] = False
        pairs = np.stack([group_C, values_CP[:, best]], axis=1)
        group_C = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)


def _parts(values_CP: NDArray[np.int64], group_C: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count, for every probe, into how many groups it would divide the candidates."""
    joint = values_CP + group_C[:, None] * (2 * int(np.abs(values_CP).max(initial=0)) + 1)
    joint = np.sort(joint, axis=0)
    parts: NDArray[np.int64] = 1 + (np.diff(joint, axis=0) != 0).sum(axis=0)
    return parts
