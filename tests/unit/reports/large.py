"""A verdict over thousands of cells, for what must stay small or quick."""

from __future__ import annotations

import hashlib
import random
from types import ModuleType

from stepaudit.harness.judging.verdict import CellVerdict, Verdict
from stepaudit.scenarios import Scenario


def with_long_id(item: CellVerdict) -> CellVerdict:
    """Return a cell whose id is as long as a real one, in its reproduce lines too."""
    cell_id = hashlib.sha256(item.id.encode()).hexdigest()
    line = f"stepaudit replay {cell_id}"
    deviations = [found.model_copy(update={"reproduce": line}) for found in item.deviations]
    return item.model_copy(update={"id": cell_id, "reproduce": line, "deviations": deviations})


def large_verdict(verdicts: ModuleType, number: int) -> Verdict:
    """Return a run of `number` cells of which about one in ten deviates, on scenarios that all differ."""
    draw = random.Random(7)
    subjects = ["hf", "plain", "accelerate", "trl@1.16"]
    cells = []
    for index in range(number):
        point = Scenario(
            rows=draw.randint(1, 2000),
            per_device_batch_size=draw.choice([1, 2, 4, 8]),
            grad_accum=draw.choice([1, 2, 3, 4, 8]),
            max_steps=draw.randint(1, 400),
            drop_last=draw.random() < 0.5,
            seed=draw.randint(0, 9),
            lr_schedule=draw.choice(["linear", "cosine", "constant"]),
            warmup_steps=draw.choice([0, 3]),
        )
        subject = subjects[index % 4]
        if index % 10 == 3:
            cells.append(verdicts.overrun(subject, point, index, 2 * (point.max_steps or 1), 40))
        elif index % 97 == 5:
            cells.append(
                verdicts.cell(
                    subject,
                    point,
                    index,
                    verdict=verdicts.CellOutcome.ERROR,
                    account=None,
                    error=verdicts.Trouble(
                        kind="exception", message=f"boom {index}", traceback="line\n" * 400
                    ),
                )
            )
        else:
            cells.append(verdicts.cell(subject, point, index))
    cells = [with_long_id(item) for item in cells]
    return verdicts.verdict_of(cells, sentence=f"Three subjects overrun max_steps in {number // 10:,} cells.")
