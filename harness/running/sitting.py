"""One training of a subject under the probes, from the start or from a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...scenarios import ModelKind, Scenario
from ..contract import contract_named, expect
from ..ledger import Claims
from ..probes import Recorder, watch
from ..subjects import Bench, ClaimsInProgress, Subject

if TYPE_CHECKING:
    from ..workloads.numeric import NumericWorkload
    from ..workloads.tracing import TraceWorkload

__all__ = ["Sitting", "final_parameters"]

_MOST_TIMES = 50
_AT_LEAST = 100


@dataclass(kw_only=True)
class Sitting:
    """What a training needs and leaves behind.

    Attributes:
        scenario: as the subject is asked.
        recorder: the ledger being written. workload: data, and the model before training.
        in_progress: claims made along the way.
        model: the model that is, or was last, trained.
    """

    scenario: Scenario
    recorder: Recorder
    workload: TraceWorkload | NumericWorkload
    in_progress: ClaimsInProgress
    model: Any

    @classmethod
    def begin(
        cls, scenario: Scenario, contract: str, options: dict[str, Any], interrupt_after: int | None = None
    ) -> Sitting:
        """Build everything new.

        Args:
            scenario: as the subject is asked.
            contract: name of the one that says how long the run is.
            options: of the tier: `project_every` updates, `project_dims`.
            interrupt_after: optimizer steps after which `Interruption` is raised: inside the window that comes next,
                where it has more than one micro-batch.
        """
        recorder = Recorder(
            _budget(scenario, contract), interrupt_after, _open_window(scenario, contract, interrupt_after)
        )
        workload: Any
        if scenario.model is ModelKind.TRACER:
            from ..workloads.tracing import TraceWorkload

            workload = TraceWorkload(scenario, recorder.fetched, recorder.began_pass)
        else:
            from ..workloads.numeric import NumericWorkload

            workload = NumericWorkload(
                scenario,
                recorder.fetched,
                recorder.began_pass,
                every=options.get("project_every") or 1,
                dims=options.get("project_dims"),
            )
        return cls(
            scenario=scenario,
            recorder=recorder,
            workload=workload,
            in_progress=ClaimsInProgress(recorder=recorder),
            model=workload.model,
        )

    def train(self, subject: Subject, output_dir: Path, *, resume: bool = False) -> Claims:
        """Let the subject train; with `resume`, a newly built model from the newest checkpoint in `output_dir`.

        Raises:
            RuntimeError: the parameters changed, but no torch optimizer was seen to step.
        """
        # Not torch.manual_seed, which formats a stack trace for every kind of device that is not there.
        torch.default_generator.manual_seed(self.scenario.seed)
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(self.scenario.seed)
        if resume:
            self.model = self.workload.fresh_model()
        output_dir.mkdir(exist_ok=True)
        bench = Bench(
            scenario=self.scenario,
            model=self.model,
            train_dataset=self.workload.train_dataset,
            eval_dataset=self.workload.eval_dataset,
            output_dir=output_dir,
            claims=self.in_progress,
            resume=resume,
            adopt=self.recorder.adopt,
            adopt_model=self._adopt_model,
        )
        before = _fingerprint(self.model)
        with watch(self.recorder, self.model, self.workload.train_dataset, self.workload):
            claims = subject.train(bench)
        if not self.recorder.saw_update and before != _fingerprint(self.model):
            raise RuntimeError(
                "the parameters changed, but no torch optimizer was seen to step: nothing can be counted"
            )
        return claims

    def _adopt_model(self, model: Any) -> None:
        self.model = model
        self.recorder.adopt_model(model)


def _budget(scenario: Scenario, contract: str) -> int:
    """Return how many micro-batches are enough: no fault that was ever seen multiplies a run by more than 27."""
    return _MOST_TIMES * expect(scenario, contract_named(contract)).micro_batches + _AT_LEAST


def _open_window(scenario: Scenario, contract: str, after: int | None) -> int:
    """Return how many micro-batches of the window after an update are computed before the interruption."""
    windows = expect(scenario, contract_named(contract)).windows
    return int(after is not None and after < len(windows) and windows[after] > 1)


def _fingerprint(model: Any) -> tuple[float, ...]:
    return tuple(float(parameter.detach().double().sum()) for parameter in model.parameters())


def final_parameters(model: Any) -> tuple[float, ...]:
    """Return all parameters of a model, one after the other."""
    flat = [parameter.detach().double().flatten() for parameter in model.parameters()]
    return tuple(torch.cat(flat).tolist()) if flat else ()
