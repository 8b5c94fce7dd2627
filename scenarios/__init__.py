"""What to run: scenarios, axes, sweeps, committed suites, known deviations. Imports nothing of ours."""

from .scenario import (
    DatasetKind,
    FirstLabel,
    LengthProfile,
    LossProtocol,
    LrSchedule,
    ModelKind,
    OptimizerName,
    Precision,
    Scenario,
    ScenarioError,
    Tier,
    nearest,
    scenario_from_mapping,
)

__all__ = [
    "DatasetKind",
    "FirstLabel",
    "LengthProfile",
    "LossProtocol",
    "LrSchedule",
    "ModelKind",
    "OptimizerName",
    "Precision",
    "Scenario",
    "ScenarioError",
    "Tier",
    "nearest",
    "scenario_from_mapping",
]
