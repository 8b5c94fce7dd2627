"""Verdicts for the tests of the reports."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


def load(name):
    """Return a module beside this file; under importlib mode a test cannot import its neighbour."""
    key = f"stepaudit_report_{name}"
    if key not in sys.modules:
        spec = importlib.util.spec_from_file_location(key, Path(__file__).with_name(f"{name}.py"))
        sys.modules[key] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[key])
    return sys.modules[key]


@pytest.fixture(scope="session")
def verdicts():
    return load("verdicts")


@pytest.fixture(scope="session")
def ledgers():
    return load("ledgers")


@pytest.fixture(scope="session")
def large(verdicts):
    """A function that makes a run of so many cells."""
    return lambda number: load("large").large_verdict(verdicts, number)


@pytest.fixture(scope="session")
def founding(verdicts):
    return verdicts.founding_verdict()


@pytest.fixture(scope="session")
def hostile(verdicts):
    return verdicts.hostile_verdict()
