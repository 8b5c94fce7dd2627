"""A subject for tests: the Trainer of an older release, in an environment of its own."""

from __future__ import annotations

from pathlib import Path

from stepaudit.harness.ledger import CellRecord
from stepaudit.harness.running import cell
from stepaudit.harness.running.environment import Environment
from stepaudit.harness.running.request import CellRequest
from stepaudit.harness.subjects.hf import HfTrainer

__all__ = ["ReleasedTrainer", "execute"]

PINS = ("transformers==4.45.2", "tokenizers==0.20.3", "huggingface_hub==0.25.2", "accelerate==1.0.1")


class ReleasedTrainer(HfTrainer):
    """transformers 4.45.2, the last release whose windows cross epochs."""

    name = "hf@4.45.2"
    contract = "hf-4.45"
    environment = Environment(name="hf-4.45.2", requirements=PINS)


def execute(request: CellRequest, scratch: Path) -> CellRecord:
    """Run a cell of this subject in a worker, where no registry knows it."""
    cell.resolve = lambda name: ReleasedTrainer()
    return cell.execute(request, scratch)
