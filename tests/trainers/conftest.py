"""The real trainers, in environments of their own that pip makes once: `tox run -e trainers`."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for folder in (HERE.parent / "contract", HERE.parent / "unit" / "contract"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


@pytest.fixture(scope="session")
def cache() -> Path:
    """Where environments are kept between runs: `STEPAUDIT_CACHE`, or the user's."""
    from stepaudit.harness.running.environment import default_cache

    return Path(os.environ.get("STEPAUDIT_CACHE") or default_cache())


@pytest.fixture(scope="session")
def laid_over(cache):
    """Return a function that makes a subject's environment and returns its directory; None where it needs none."""
    from stepaudit.harness.running.environment import EnvironmentFailedError, materialise
    from stepaudit.harness.subjects import resolve

    def directory(name: str) -> Path | None:
        environment = resolve(name).environment
        if environment is None:
            return None
        try:
            return materialise(environment, cache)
        except EnvironmentFailedError as error:
            pytest.skip(str(error))

    return directory
