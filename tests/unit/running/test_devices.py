"""Where cells run: the gpu tier on the accelerator, everything else out of its sight."""

from stepaudit.harness.running.environment import worker_variables
from stepaudit.harness.running.plan import PlannedCell, SweepOptions, order_cells
from stepaudit.harness.subjects import resolve
from stepaudit.scenarios import ModelKind, Scenario, Tier


def test_only_the_gpu_tier_is_on_the_accelerator():
    """A sweep of all tiers has one accelerator, and its trace and numeric cells keep the ids that they have without."""
    scenarios = [
        Scenario(),
        Scenario(tier=Tier.NUMERIC, model=ModelKind.TINY_LLAMA),
        Scenario(tier=Tier.GPU, model=ModelKind.LLAMA),
    ]
    plan = [PlannedCell(scenario=scenario, subject=resolve("hf")) for scenario in scenarios]
    without = order_cells(plan, SweepOptions())
    order = order_cells(plan, SweepOptions(device="NVIDIA H100"))
    assert [request.device for request in order.requests.values()] == ["cpu", "cpu", "NVIDIA H100"]
    assert list(order.requests)[:2] == list(without.requests)[:2]


def test_a_worker_on_the_cpu_sees_no_accelerator(monkeypatch):
    """Trainers that find a device use it, asked or not; the gpu tier's worker sees those that the caller sees."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert worker_variables(None, None)["CUDA_VISIBLE_DEVICES"] == ""
    assert worker_variables(None, None, on_cpu=False)["CUDA_VISIBLE_DEVICES"] == "3"
