"""The name `kernels` belongs to another distribution, also when somebody works in our checkout."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stepaudit.harness.running.engine import run_sweep
from stepaudit.harness.running.plan import PlannedCell, SweepOptions
from stepaudit.harness.running.store import Store
from stepaudit.scenarios import Scenario

PEEK = """
from stepaudit.harness.ledger import CellRecord, Outcome

def execute(request, scratch):
    import kernels
    from importlib.metadata import version
    return CellRecord(
        cell_id=request.cell_id, scenario=request.scenario, subject=request.subject, contract=request.contract,
        versions=request.versions, device=request.device, outcome=Outcome.COMPLETED,
        output=f"{kernels.__file__} {version('kernels')}",
    )
"""


@dataclass
class Nobody:
    """A subject that makes its worker import nothing: a real `transformers` would ask the empty package for names."""

    name: str = "nobody"
    contract: str = "hf-5"
    packages: tuple = ()
    imports: tuple = ()
    environment: object = None
    own_process: bool = False
    fingerprint: str = ""

    def supports(self, scenario):
        return None


def test_the_distribution_kernels_wins_in_a_worker(root, tmp_path, monkeypatch):
    """transformers imports from it at every model import when it is installed; our folder must not be in its place."""
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("")
    (tmp_path / "kernels-0.18.5.dist-info").mkdir()
    (tmp_path / "kernels-0.18.5.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: kernels\nVersion: 0.18.5\n"
    )
    (tmp_path / "peek.py").write_text(PEEK)
    monkeypatch.chdir(root)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    options = replace(SweepOptions(), workers=1, fresh_fraction=0.0, execute="peek:execute")
    with Store(tmp_path / "records.sqlite") as store:
        run_sweep([PlannedCell(scenario=Scenario(), subject=Nobody())], store, options, lambda event: None)
        (record,) = store.records()
    assert record.error is None, record.error
    assert record.output == f"{tmp_path / 'kernels' / '__init__.py'} 0.18.5"


def test_the_tests_do_not_see_our_folder_under_that_name(root):
    """tests/conftest.py takes the checkout off the path."""
    import importlib.util

    spec = importlib.util.find_spec("kernels")
    assert spec is None or not (spec.origin or "").startswith(str(root))
