"""What the command line may import, and that the commands without torch do without."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "accelerate", "triton", "peft", "pandas", "matplotlib", "pyarrow")

WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "accelerate", "triton", "peft", "safetensors"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from stepaudit.harness.cli import main
main(sys.argv[1:])
"""


def _python(code: str, *arguments, cwd):
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "module", ["stepaudit.harness.cli", "stepaudit.harness.subjects", "stepaudit.harness.contract"]
)
def test_importing_it_imports_nothing_heavy(module, tmp_path):
    """A usage error is told in a fraction of a second."""
    code = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = _python(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The output directory of a run of two cells."""
    folder = tmp_path_factory.mktemp("recorded")
    code = "from stepaudit.harness.cli import main; main()"
    arguments = [
        "run",
        "--subject",
        "plain",
        "--axis",
        "rows=5,6",
        "--no-reference",
        "--jobs",
        1,
        "--out",
        folder / "out",
    ]
    done = _python(code, *arguments, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out"


def test_predict_works_where_torch_is_not(tmp_path):
    """The contract is integer arithmetic."""
    done = _python(WITHOUT_TORCH, "predict", "--rows", 60, "--max-steps", 8, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "T = max_steps = 8" in done.stdout


@pytest.mark.parametrize("command", ["check", "report"])
def test_records_are_judged_and_shown_where_torch_is_not(command, recorded):
    """A laptop without torch reads what a cluster recorded."""
    (recorded / "report.html").unlink()
    done = _python(WITHOUT_TORCH, command, recorded, cwd=recorded)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 cells judged" in done.stdout
    assert (recorded / "report.html").is_file()


def test_run_says_so_where_torch_is_not(tmp_path):
    """No traceback: one line that says what is missing, or cells that say why they were not judged."""
    arguments = [
        "run",
        "--subject",
        "plain",
        "--axis",
        "rows=5",
        "--no-reference",
        "--jobs",
        1,
        "--out",
        tmp_path / "o",
    ]
    done = _python(WITHOUT_TORCH, *arguments, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode in {0, 2, 3}
