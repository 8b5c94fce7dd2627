"""The pytest plugin: a `scenarios` marker, an `audit` fixture, `-m gpu` with `--require-gpu`. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..scenarios import Scenario
    from .judging.verdict import CellVerdict

__all__ = ["Audit"]

Audit = Callable[[Callable[..., Any]], "CellVerdict"]
"""What the `audit` fixture is: call it with `train(model, dataset, args)`."""

_NOT_JUDGED = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("stepaudit")
    group.addoption(
        "--require-gpu",
        action="store_true",
        help="fail, with exit code 3, when a test marked gpu finds no CUDA device",
    )
    group.addoption(
        "--stepaudit-report",
        type=Path,
        metavar="DIR",
        help="write stepaudit's records and reports of all audited cells to DIR",
    )
    group.addoption(
        "--stepaudit-known",
        type=Path,
        metavar="FILE",
        help="known deviations of these trainers (known_deviations.toml); a covered deviation is an xfail",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and refuse a file of known deviations that cannot be read."""
    config.addinivalue_line(
        "markers", "scenarios(suite, select=None): audit every scenario of a suite, one test each"
    )
    config.addinivalue_line(
        "markers", "gpu: needs a CUDA device; skipped without one, failed under --require-gpu"
    )
    if known := config.getoption("--stepaudit-known"):
        _usage(lambda: _known(known))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of every scenario that the marker names."""
    if "audit" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("scenarios")
    if marker is None:
        raise pytest.UsageError(
            f'{metafunc.definition.nodeid}: the audit fixture needs @pytest.mark.scenarios("SUITE")'
        )
    chosen = _usage(lambda: _scenarios(*marker.args, **marker.kwargs))
    metafunc.parametrize(
        "audit", chosen, ids=[item.label.replace(" ", ",") for item in chosen], indirect=True
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none, or end the session under --require-gpu."""
    if item.get_closest_marker("gpu") is None or _has_cuda():
        return
    if item.config.getoption("--require-gpu"):
        pytest.exit("--require-gpu: there is no CUDA device", returncode=_NOT_JUDGED)
    pytest.skip("needs a CUDA device")


@pytest.fixture
def audit(request: pytest.FixtureRequest, tmp_path: Path) -> Audit:
    """Audit a loop of one's own on this test's scenario.

    Returns:
        A function that takes `train(model, dataset, args)`, fails the test with the text that the command line
        shows, and returns the cell's verdict where all rules hold. A deviation that the known deviations cover is
        an xfail; one that is covered and does not show fails as stale; a loop that crashes is an error of the test.
    """
    scenario: Scenario = request.param
    known = request.config.getoption("--stepaudit-known")
    report = request.config.getoption("--stepaudit-report")

    def run(train: Callable[..., Any]) -> CellVerdict:
        from .audited import audit_function

        return audit_function(
            train, scenario, scratch=tmp_path, known=_known(known) if known else (), report=report
        )

    return run


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the reports, once: in the process that drives the session."""
    directory = session.config.getoption("--stepaudit-report")
    if directory is None or hasattr(session.config, "workerinput"):
        return
    from .audited import write_session_report

    known = session.config.getoption("--stepaudit-known")
    write_session_report(directory, _known(known) if known else ())


def _scenarios(suite: str = "default", *, select: str | None = None) -> tuple[Scenario, ...]:
    from .cli.plan import choose_scenarios

    return choose_scenarios(suite, select=select).scenarios


def _known(path: Path) -> Any:
    from ..scenarios.known import load_known
    from .contract import RULES

    return load_known(path, rules=RULES)


def _usage(action: Callable[[], Any]) -> Any:
    """Turn an error in what the user wrote into pytest's own usage error."""
    from ..scenarios import ScenarioError

    try:
        return action()
    except (ScenarioError, TypeError) as error:
        raise pytest.UsageError(f"stepaudit: {error}") from None


@cache
def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())
