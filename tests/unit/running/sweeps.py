"""Plans, options and a recorder of events, for the tests of the runner."""

from __future__ import annotations

from dataclasses import dataclass, field

from stepaudit.harness.running.plan import PlannedCell, SweepOptions
from stepaudit.scenarios import Scenario

EXECUTE = "fake_cells:execute"


@dataclass
class FakeSubject:
    name: str = "good"
    contract: str = "hf-5"
    packages: tuple = ()
    imports: tuple = ()
    fingerprint: str = ""
    environment: object = None
    own_process: bool = False
    refuses: object = None

    def supports(self, scenario):
        return self.refuses(scenario) if self.refuses else None


@dataclass
class Recorder:
    """A handler that keeps every event."""

    events: list = field(default_factory=list)

    def __call__(self, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if type(event) is kind]


def plan(*subjects, rows=range(1, 4)):
    return [
        PlannedCell(scenario=Scenario(rows=count), subject=subject) for count in rows for subject in subjects
    ]


def options(**changes):
    settings = {
        "workers": 2,
        "timeout_s": 20.0,
        "fresh_fraction": 0.0,
        "execute": EXECUTE,
        "memory_limit": 2**30,
    }
    return SweepOptions(**settings | changes)
