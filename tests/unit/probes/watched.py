"""A watched block on a small tracer, and its ledger."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field

from stepaudit.harness.ledger import account_of
from stepaudit.harness.probes import Recorder, watch
from stepaudit.harness.workloads.tracing import TraceWorkload
from stepaudit.scenarios import Scenario
from torch.utils.data import default_collate

__all__ = ["Watched", "watching"]


@dataclass
class Watched:
    recorder: Recorder
    workload: TraceWorkload
    events: tuple = field(default=())

    @property
    def model(self):
        return self.workload.model

    @property
    def dataset(self):
        return self.workload.train_dataset

    @property
    def account(self):
        return account_of(self.events)

    def batch(self, *rows):
        return default_collate([self.dataset[row] for row in rows])

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@contextmanager
def watching(**scenario):
    """Attach all probes while the block runs; afterwards the ledger is in `events`."""
    recorder = Recorder()
    workload = TraceWorkload(
        Scenario(**({"rows": 8, "lengths": "equal"} | scenario)), recorder.fetched, recorder.began_pass
    )
    seen = Watched(recorder, workload)
    workload.model.train()
    with watch(recorder, workload.model, workload.train_dataset, workload):
        yield seen
    seen.events = recorder.close()
