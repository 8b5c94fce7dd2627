"""Lets the test environments share one directory, so that torch is installed once.

tox writes an environment's name into its directory and makes the directory anew when another name comes.
`runner = shared` leaves the name out of that comparison; requirements, package and interpreter are compared as ever.
Environments that share a directory must ask for the same things, and cannot run in parallel.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from tox.plugin import impl
from tox.tox_env.api import ToxEnv
from tox.tox_env.info import Info
from tox.tox_env.python.virtual_env.runner import VirtualEnvRunner
from tox.tox_env.register import ToxEnvRegister


class _NamelessInfo(Info):
    @contextmanager
    def compare(
        self, value: Any, section: str, sub_section: str | None = None
    ) -> Generator[tuple[bool, Any | None], None, None]:
        if section == ToxEnv.__name__:
            value = value | {"name": "shared"}
        with super().compare(value, section, sub_section) as answer:
            yield answer


class SharedRunner(VirtualEnvRunner):
    """A virtualenv that does not mind which environment made it."""

    @staticmethod
    def id() -> str:
        """Return what `runner =` calls it."""
        return "shared"

    @property
    def cache(self) -> Info:
        """Return the state of the directory's last set-up, whoever made it."""
        return _NamelessInfo(self.env_dir)


@impl
def tox_register_tox_env(register: ToxEnvRegister) -> None:
    """Tell tox about the runner."""
    register.add_run_env(SharedRunner)
