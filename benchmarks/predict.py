"""Scenarios a second of the contract's vectorised form, every contract on the same drawn scenarios.

The columns are drawn from the ranges that people train in, with a third of the scenarios asking for epochs, a tenth
dropping a partial micro-batch. A sample is compared with the scalar form, so that a fast wrong answer does not count.

    python -P benchmarks/predict.py [--scenarios N] [--repeats N]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np
from stepaudit.harness.contract import CONTRACTS, Contract, expect
from stepaudit.harness.contract.vectorised import Columns, Predicted, predict_columns
from stepaudit.scenarios import Scenario

TARGET = 1_000_000
SAMPLE = 200


def main() -> int:
    """Print a line for each contract; fail below the target."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenarios", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    columns = drawn(given.scenarios)
    slow = []
    for contract in CONTRACTS.values():
        times = []
        for _ in range(given.repeats):
            began = time.perf_counter()
            predicted = predict_columns(columns, contract)
            times.append(time.perf_counter() - began)
        check(columns, predicted, contract)
        rate = given.scenarios / statistics.median(times)
        if rate < TARGET:
            slow.append(contract.name)
        print(
            f"{contract.name:<24} {rate / 1e6:6.1f} M scenarios/s  (median of {given.repeats} x {given.scenarios:,})"
        )
    print(f"target {TARGET / 1e6:g} M/s: " + (f"missed by {', '.join(slow)}" if slow else "reached by all"))
    return 1 if slow else 0


def drawn(count: int) -> Columns:
    """Draw scenarios as columns of length `count`."""
    random = np.random.default_rng(0)
    epochs_only = random.random(count) < 1 / 3
    return Columns(
        rows=random.integers(1, 20_000, count),
        per_device_batch_size=random.integers(1, 33, count),
        grad_accum=random.integers(1, 33, count),
        ranks=random.choice(np.array([1, 1, 1, 2, 4, 8]), count),
        max_steps=np.where(epochs_only, 0, random.integers(1, 2_000, count)),
        epochs=random.choice(np.array([0.5, 1.0, 1.5, 2.0, 3.0]), count),
        drop_last=random.random(count) < 0.1,
    )


def check(columns: Columns, predicted: Predicted, contract: Contract) -> None:
    """Compare a sample with the scalar closed form."""
    for at in range(min(SAMPLE, len(columns.rows))):
        scenario = Scenario(
            rows=int(columns.rows[at]),
            per_device_batch_size=int(columns.per_device_batch_size[at]),
            grad_accum=int(columns.grad_accum[at]),
            ranks=int(columns.ranks[at]),
            max_steps=int(columns.max_steps[at]) or None,
            epochs=float(columns.epochs[at]),
            drop_last=bool(columns.drop_last[at]),
        )
        scalar = expect(scenario, contract)
        pair = (int(predicted.optimizer_steps[at]), int(predicted.micro_batches[at]))
        if pair != (scalar.optimizer_steps, scalar.micro_batches):
            raise SystemExit(
                f"{contract.name}: {pair} where the scalar form says {scalar} for {scenario.label}"
            )


if __name__ == "__main__":
    sys.exit(main())
