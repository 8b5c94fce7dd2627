"""The commands by name, and how their errors become one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from cyclopts import App, CycloptsError
from rich.console import Console

from ...scenarios import ScenarioError
from ..judging.verdict import ExitCode
from ..running.pool import PoolError
from ..running.store import StoreError
from ..subjects import SubjectError
from .manifest import ManifestError

__all__ = ["main", "make_app"]


def make_app() -> App:
    """Return the command line; each command lives in a module of its own and imports what it needs."""
    app = App(
        name="stepaudit",
        help="Audit the step accounting of PyTorch fine-tuning loops.",
        version=version("stepaudit"),
    )
    for name, module in (
        ("run", "run"),
        ("predict", "predict"),
        ("check", "check"),
        ("report", "report"),
        ("replay", "replay"),
        ("doctor", "doctor"),
        ("faults", "faults"),
        ("explain", "explain"),
        ("fuzz", "fuzz"),
        ("train", "train"),
        ("timeline", "timeline"),
        ("compare", "compare"),
        ("history", "history"),
    ):
        app.command(f"{__package__}.{module}:{name}", name=name)
    baseline = App(name="baseline", help="Accept deviations: known for a time, with a reason.")
    for name in ("review", "accept"):
        baseline.command(f"{__package__}.baseline:{name}", name=name)
    app.command(baseline)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code (DESIGN: verdicts, gate, exit codes)."""
    sys.exit(_code(sys.argv[1:] if arguments is None else list(arguments)))


def _code(arguments: list[str]) -> int:
    try:
        code = make_app()(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return int(code or 0)
    except (CycloptsError, ScenarioError, SubjectError, StoreError, PoolError, ManifestError) as error:
        Console(stderr=True, soft_wrap=True, markup=False, highlight=False).print(
            f"stepaudit: {_line(error)}"
        )
        return ExitCode.USAGE
    except OSError as error:
        _forget_output()
        where = f" {error.filename}" if error.filename else ""
        print(f"stepaudit: cannot use{where}: {error.strerror or error}", file=sys.stderr)  # noqa: T201  a broken output may be why
        return ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception:  # noqa: BLE001  Python's own exit code for it, 1, would say that a contract is violated
        traceback.print_exc()
        print("stepaudit: this is a fault of stepaudit itself; nothing was judged", file=sys.stderr)  # noqa: T201
        return ExitCode.NOT_JUDGED


def _forget_output() -> None:
    """Let what could not be printed go: the interpreter would try again as it ends, and exit with its own 120."""
    try:
        sys.stdout.flush()
    except OSError:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if not os.environ.get("STEPAUDIT_DEBUG") else f"{text} [{type(error).__name__}]"
