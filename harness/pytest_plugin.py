"""The pytest plugin: a `scenarios` marker, an `audit` fixture, `-m gpu` with `--require-gpu`. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..scenarios import Scenario
    from ..scenarios.gate import Gate
    from .audited import Auditor
    from .audited_session import AuditedSession, Concluded
    from .cli.baseline_files import Baseline
    from .judging.verdict import CellVerdict

__all__ = ["Audit"]

Audit = Callable[[Callable[..., Any]], "CellVerdict"]
"""What the `audit` fixture is: call it with `train(model, dataset, args)`."""

_NOT_JUDGED = 3
_CELLS = "stepaudit_cells"
"""the attribute of a test report that holds the audited cells, as plain texts: pytest-xdist carries it"""
_AUDITOR: pytest.StashKey[Auditor] = pytest.StashKey()
_TERMS: pytest.StashKey[tuple[Baseline, Gate]] = pytest.StashKey()


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
        help="write stepaudit's records and reports of all audited cells, of all workers, to DIR",
    )
    group.addoption(
        "--stepaudit-known",
        type=Path,
        metavar="FILE",
        help="known deviations of these trainers instead of the gate's file; a covered deviation is an xfail",
    )
    group.addoption(
        "--stepaudit-base-ref",
        metavar="REF",
        help="read the known deviations at the merge base with this branch, tag or commit",
    )
    group.addoption(
        "--stepaudit-gate",
        type=Path,
        metavar="FILE",
        help="a file with [tool.stepaudit.gate] instead of the project's pyproject.toml",
    )
    group.addoption(
        "--stepaudit-no-gate", action="store_true", help="leave the project's [tool.stepaudit.gate] out"
    )
    group.addoption(
        "--stepaudit-repeat",
        type=_share,
        default=1.0,
        metavar="SHARE",
        help="share of the cells that run twice and must give the same ledger, 0 to 1 (default: 1)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and refuse a gate or known deviations that were named and cannot be read."""
    config.addinivalue_line(
        "markers", "scenarios(suite, select=None): audit every scenario of a suite, one test each"
    )
    config.addinivalue_line(
        "markers", "gpu: needs a CUDA device; skipped without one, failed under --require-gpu"
    )
    named = ("--stepaudit-known", "--stepaudit-gate", "--stepaudit-base-ref")
    if any(config.getoption(name) for name in named):
        _terms(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of every scenario that the marker names."""
    if "audit" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("scenarios")
    if marker is None:
        raise pytest.UsageError(
            f'{metafunc.definition.nodeid}: the audit fixture needs @pytest.mark.scenarios("SUITE")'
        )
    _terms(metafunc.config)
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
        shows, and returns the cell's verdict where all rules hold. A deviation that the known deviations cover, or
        of a subject that the gate only reports, is an xfail; one that is covered and does not show fails as stale;
        two runs that differ fail as flaky; a loop that crashes is not judged, which fails too.
    """
    from .audited import Auditor

    scenario: Scenario = request.param
    scratch = tmp_path / "stepaudit"
    scratch.mkdir()
    baseline, gate = _terms(request.config)
    auditor = Auditor(
        scenario=scenario,
        scratch=scratch,
        baseline=baseline,
        gate=gate,
        repeated=request.config.getoption("--stepaudit-repeat"),
    )
    request.node.stash[_AUDITOR] = auditor
    return auditor


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Send the audited cells along with the report of their test: with pytest-xdist it travels to the controller."""
    report = yield
    if report.when == "call" and (auditor := item.stash.get(_AUDITOR, None)) is not None:
        from .audited_session import to_report

        setattr(report, _CELLS, to_report(auditor.cells))
    return report


def pytest_sessionstart(session: pytest.Session) -> None:
    """Listen to the reports of all tests, in the process that drives the session."""
    if not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(_Listener(session.config), "stepaudit-listener")


class _Listener:
    """Keeps what the tests audited, and judges it all at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._session: AuditedSession | None = None
        self._others_failed = False
        self._concluded: Concluded | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the cells of one test."""
        tables = getattr(report, _CELLS, None)
        cells: list[Any] = []
        if tables is not None:
            from ..reports.github import Place
            from .audited_session import from_report

            cells = from_report(tables)
            file, line, _ = report.location
            test = Place(file=str(self._config.rootpath / file), line=(line or 0) + 1)
            self._opened().keep(cells, test)
        if report.failed:
            from .ledger import Outcome

            lost = [cell for cell in cells if cell.record.outcome is Outcome.ERROR]
            self._others_failed |= not lost

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """Judge the session as one run: reports, the gate, the exit code; once all is printed, GitHub is told."""
        self._conclude(session)
        yield
        if self._concluded is not None:
            reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
            self._concluded.tell_github(print if reporter is None else reporter.write_line)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Show what the audited cells say together, what the gate misses, and what is about to expire."""
        if self._concluded is None or not (lines := self._concluded.lines()):
            return
        from .cli.github import as_text

        terminalreporter.section("stepaudit", red=bool(self._concluded.verdict.exit_code))
        with as_text(terminalreporter.write_line):
            for line in lines:
                terminalreporter.write_line(line)

    def _conclude(self, session: pytest.Session) -> None:
        asked = any(map(self._config.getoption, ("--stepaudit-report", "--stepaudit-gate")))
        if self._config.option.collectonly or (self._session is None and not asked):
            return
        from .audited_session import session_code

        self._concluded = self._opened().conclude()
        session.exitstatus = session_code(
            int(session.exitstatus), self._concluded.verdict, others_failed=self._others_failed
        )

    def _opened(self) -> AuditedSession:
        if self._session is None:
            from .audited_session import AuditedSession

            baseline, gate = _terms(self._config)
            self._session = AuditedSession(baseline, gate, self._config.getoption("--stepaudit-report"))
        return self._session


def _terms(config: pytest.Config) -> tuple[Baseline, Gate]:
    """Return the known deviations and the gate of this session, read once."""
    if _TERMS not in config.stash:
        config.stash[_TERMS] = _usage(lambda: _read_terms(config))
    return config.stash[_TERMS]


def _read_terms(config: pytest.Config) -> tuple[Baseline, Gate]:
    from ..scenarios.gate import NO_GATE, find_gate, load_gate
    from .cli.baseline_files import baseline_of

    named = config.getoption("--stepaudit-gate")
    if config.getoption("--stepaudit-no-gate"):
        gate = NO_GATE
    else:
        gate = load_gate(named) if named else find_gate(config.rootpath)
    base_ref = config.getoption("--stepaudit-base-ref")
    known = config.getoption("--stepaudit-known")
    return baseline_of(known, gate, base_ref=base_ref, built_in=False), gate


def _scenarios(suite: str = "default", *, select: str | None = None) -> tuple[Scenario, ...]:
    from .cli.plan import choose_scenarios

    return choose_scenarios(suite, select=select).scenarios


def _usage(action: Callable[[], Any]) -> Any:
    """Turn an error in what the user wrote into pytest's own usage error."""
    from ..scenarios import ScenarioError

    try:
        return action()
    except (ScenarioError, TypeError) as error:
        raise pytest.UsageError(f"stepaudit: {error}") from None


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError(text)
    return share


@cache
def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())
