"""How fast the diagnosis searches: formulas from 1,000 cells, interactions over 10,000; CPU seconds of one core.

    python -P benchmarks/diagnosis.py [--repeats N] [--cells N] [--judged N]

Exits with 1 when a median is beyond its limit (10 s, 5 s) or a formula is not the one that made the figures.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from stepaudit.harness.contract import CONTRACTS
from stepaudit.harness.diagnosis import Grammar, Space, infer, interaction_of, quantities_of
from stepaudit.harness.diagnosis.conditions import separating_conditions
from stepaudit.scenarios import Scenario

CONTRACT = CONTRACTS["hf-5"]
INFERENCE_LIMIT_S, INTERACTION_LIMIT_S = 10.0, 5.0

Numbers = dict[str, int]


def overrun_floored(_: Scenario, n: Numbers) -> int:
    """The loop of the founding case: epochs from floored updates, only the inner loop is left."""
    return n["T_floor"] + (n["E_floor"] - math.ceil(n["T_floor"] / n["U"])) * n["U"]


def overrun_rows(scenario: Scenario, n: Numbers) -> int:
    """Its successor: epochs from rows."""
    if not scenario.max_steps:
        return n["T"]
    return n["T"] + (math.ceil(n["G"] * n["T"] / n["rows"]) - n["E"]) * n["U"]


def short_windows_lost(_: Scenario, n: Numbers) -> int:
    """Short windows are never stepped."""
    return n["E"] * (n["M"] // n["A"])


def rounded_down(scenario: Scenario, n: Numbers) -> int:
    """Fractional epochs are cut off."""
    return n["T"] if scenario.max_steps else math.floor(scenario.epochs) * n["U"]


def noise(scenario: Scenario, n: Numbers) -> int:
    """No formula at all: the search goes to its end."""
    return n["T"] + random.Random(scenario.label).randrange(5)


FIGURES: tuple[Callable[[Scenario, Numbers], int], ...] = (
    overrun_floored,
    overrun_rows,
    short_windows_lost,
    rounded_down,
    noise,
)


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--judged", type=int, default=10_000)
    chosen = parser.parse_args()
    slow = [
        *inference(chosen.repeats, chosen.cells),
        *interaction(chosen.repeats, chosen.judged),
    ]
    for line in slow:
        print(f"beyond its limit or wrong: {line}")
    return 1 if slow else 0


def inference(repeats: int, cells: int) -> Iterator[str]:
    """Formulas of five figures; the grammar is enumerated anew for each."""
    space = Space(templates=(Scenario(),), supports=lambda _: None, contract=CONTRACT, drop_last=(False,))
    probes = space.draw(3000, seed=1)
    scenarios = space.draw(cells, seed=2)
    quantities = quantities_of(scenarios, CONTRACT)
    rows = [
        {name: int(column[k]) for name, column in quantities.columns.items()} for k in range(len(scenarios))
    ]
    print(f"inference over {len(scenarios)} cells, limit {INFERENCE_LIMIT_S:g} s")
    for figure in FIGURES:
        observed = np.array([figure(*pair) for pair in zip(scenarios, rows, strict=True)], dtype=np.int64)
        seconds, found = [], None
        for _ in range(repeats):
            began = time.process_time()
            found = infer(Grammar(CONTRACT, probes), scenarios, observed).candidates[0]
            seconds.append(time.process_time() - began)
        assert found is not None
        median = statistics.median(seconds)
        print(
            f"  {figure.__name__:<20} {median:6.2f} s median of {repeats} ({INFERENCE_LIMIT_S / median:5.1f} x inside) "
            f" {found.cells}/{found.of} cells: {found.text}"
        )
        if median > INFERENCE_LIMIT_S or (not found.exact and figure is not noise):
            yield f"inference of {figure.__name__}"


def interaction(repeats: int, judged: int) -> Iterator[str]:
    """A conjunction of three, two of two, and noise."""
    space = Space(
        templates=(Scenario(), Scenario(lengths="equal")), supports=lambda _: None, contract=CONTRACT
    )
    scenarios = list(space.draw(judged, seed=3))
    quantities = quantities_of(scenarios, CONTRACT)
    q, fields = quantities.columns, quantities.fields
    planted = {
        "three conditions": (q["A"] > 1) & (q["rows"] % q["G"] != 0) & (q["max_steps"] > 0),
        "two clauses": (fields["drop_last"] == "true") & (q["rows"] % q["B"] > 0)
        | (q["T"] > q["U"]) & (q["A"] > 2),
        "noise": np.random.default_rng(1).random(len(scenarios)) < 0.2,
    }
    conditions, _ = separating_conditions(quantities)
    print(
        f"interaction over {len(scenarios)} cells, {len(conditions)} conditions, limit {INTERACTION_LIMIT_S:g} s"
    )
    for name, failing in planted.items():
        seconds, found = [], None
        for _ in range(repeats):
            began = time.process_time()
            found = interaction_of(quantities, failing)
            seconds.append(time.process_time() - began)
        assert found is not None
        median = statistics.median(seconds)
        ratio = INTERACTION_LIMIT_S / median
        print(f"  {name:<20} {median:6.2f} s median of {repeats} ({ratio:5.1f} x inside)  {found}")
        if median > INTERACTION_LIMIT_S or (not found.exact and name != "noise"):
            yield f"interaction of {name}"


if __name__ == "__main__":
    sys.exit(main())
