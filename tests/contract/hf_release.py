"""A subject for tests: the Trainer of an older release, in an environment of its own."""

from __future__ import annotations

from pathlib import Path

from stepaudit.harness.ledger import CellRecord
from stepaudit.harness.running import cell
from stepaudit.harness.running.request import CellRequest
from stepaudit.harness.subjects.environment import Environment
from stepaudit.harness.subjects.hf import HfTrainer
from stepaudit.scenarios import Scenario

__all__ = ["ReleasedTrainer", "execute"]

RELEASE = ("transformers==4.45.2", "tokenizers==0.20.3", "huggingface_hub==0.25.2", "accelerate==1.0.1")
NEEDS = (
    "requests==2.32.5",
    "urllib3==2.5.0",
    "charset-normalizer==3.4.4",
    "idna==3.11",
    "certifi==2025.10.5",
)
"""what huggingface_hub imported before it changed to httpx"""


class ReleasedTrainer(HfTrainer):
    """transformers 4.45.2, the last release whose windows cross epochs."""

    name = "hf@4.45.2"
    contract = "hf-4.45"
    environment = Environment(name="hf-4.45.2", requirements=(*RELEASE, *NEEDS))

    def supports(self, scenario: Scenario) -> str | None:
        """Decline what the release crashes on: an accelerate 1.0 loader of length 0 yields one batch, None."""
        if scenario.drop_last and scenario.rows < scenario.per_device_batch_size:
            return "drop_last leaves no micro-batch"
        return super().supports(scenario)


def execute(request: CellRequest, scratch: Path) -> CellRecord:
    """Run a cell of this subject in a worker, where no registry knows it."""
    cell.resolve = lambda name: ReleasedTrainer()
    return cell.execute(request, scratch)
