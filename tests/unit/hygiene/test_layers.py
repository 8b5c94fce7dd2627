"""The one-way walk of DESIGN, section 5, as import-linter sees the installed package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_nobody_imports_upwards(root):
    """The contracts of `[tool.importlinter]` hold."""
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--no-cache", "--config", root / "pyproject.toml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
