"""Environments: made once, by one of many, offline afterwards; never half made."""

import json
import os
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from stepaudit.harness.running import environment as module
from stepaudit.harness.running.engine import run_sweep
from stepaudit.harness.running.environment import (
    EnvironmentFailedError,
    default_cache,
    installed_versions,
    materialise,
    scrubbed_variables,
    worker_variables,
)
from stepaudit.harness.running.events import EnvironmentPreparing, EnvironmentReady, EnvironmentUnavailable
from stepaudit.harness.subjects.environment import Environment
from sweeps import FakeSubject, Recorder, options, plan


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A directory with one wheel, the only place that pip looks at."""
    directory = tmp_path / "wheels"
    directory.mkdir()
    with zipfile.ZipFile(directory / "over_laid-1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("overlaid.py", "VALUE = 'from the wheel'\n")
        wheel.writestr(
            "over_laid-1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: over-laid\nVersion: 1.2\n"
        )
        wheel.writestr(
            "over_laid-1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("over_laid-1.2.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    return directory


def overlay(**changes):
    return Environment(**{"name": "old", "requirements": ("over-laid==1.2",)} | changes)


def test_is_made_once_and_then_needs_no_pip(wheels, tmp_path, monkeypatch):
    """The second call finds it, without pip and without an index."""
    made = materialise(overlay(), tmp_path / "cache")
    assert (made / "overlaid.py").is_file()
    monkeypatch.setattr(subprocess, "run", None)
    assert materialise(overlay(variables={"A": "1"}), tmp_path / "cache") == made


def test_two_runs_at_once_build_it_once(wheels, tmp_path, monkeypatch):
    """The lock holds between open files, so threads stand for processes here."""
    built = []
    install = module._pip_install
    monkeypatch.setattr(module, "_pip_install", lambda *given: (built.append(1), install(*given)))
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: materialise(overlay(), tmp_path / "cache"), range(4)))
    assert len(found) == 1
    assert built == [1]


def test_a_killed_build_is_neither_used_nor_kept(wheels, tmp_path):
    """A directory without the marker, and the temporary one beside it, are what `kill -9` leaves."""
    made = materialise(overlay(), tmp_path / "cache")
    (made / "stepaudit-environment.json").unlink()
    (made / "overlaid.py").write_text("half")
    leftover = made.with_name(f".{made.name}.building-killed")
    leftover.mkdir()
    assert materialise(overlay(), tmp_path / "cache") == made
    assert "VALUE" in (made / "overlaid.py").read_text()
    assert json.loads((made / "stepaudit-environment.json").read_text())["requirements"] == ["over-laid==1.2"]
    assert not leftover.exists()


def test_a_failure_is_one_line_with_the_pins_and_pips_reason(wheels, tmp_path):
    """Nothing half made stays in the cache."""
    with pytest.raises(EnvironmentFailedError) as failure:
        materialise(overlay(requirements=("over-laid==9.9",)), tmp_path / "cache")
    assert "\n" not in str(failure.value)
    assert "environment old: pip cannot install over-laid==9.9" in str(failure.value)
    assert "over-laid==9.9 has no wheel" in str(failure.value)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_dir() and "old" in path.name] == []


def test_a_cache_that_cannot_be_written_is_one_line(wheels, tmp_path):
    """A file stands where the cache should be."""
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFailedError, match=r"environment old: cannot write its cache .*file"):
        materialise(overlay(), tmp_path / "file")


@pytest.mark.parametrize(
    "requirement", ["over-laid", "over-laid>=1", "-e .", "over-laid == 1.2", "over-laid==1.*"]
)
def test_requirements_are_exact_pins(requirement):
    """A range would give two machines two environments under one id."""
    with pytest.raises(ValueError, match="not an exact pin") as error:
        overlay(requirements=(requirement,))
    assert repr(requirement) in str(error.value)


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden"])
def test_a_name_is_no_path(name):
    with pytest.raises(ValueError, match="environment's name"):
        overlay(name=name)


def test_versions_come_from_the_pins_first():
    """So ids need no installed environment; names are compared as pip compares them."""
    found = installed_versions(("over_laid", "pytest", "no-such-thing"), overlay())
    assert found == {"over_laid": "1.2", "pytest": pytest.__version__, "no-such-thing": "absent"}


def test_the_cache_is_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("STEPAUDIT_CACHE", str(tmp_path))
    assert default_cache() == tmp_path


def test_launcher_variables_are_scrubbed_and_named():
    variables = {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4", "WORLD_SIZE": "2", "HOME": "/"}
    assert set(scrubbed_variables(variables)) == {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "WORLD_SIZE"}


def test_the_checkout_never_gets_onto_a_workers_path(monkeypatch, tmp_path):
    """Its folder `kernels` would shadow the distribution that transformers imports."""
    checkout = module.Path(module.__file__).resolve().parents[2]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(checkout), str(tmp_path)]))
    assert worker_variables(None, None)["PYTHONPATH"] == str(tmp_path)


def test_a_worker_lives_in_its_environment(wheels, tmp_path, store, monkeypatch, capfd):
    """Overlay and variables are there, the caller's launcher variables are not, and pip printed nothing of ours."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    subject = FakeSubject(
        name="imported", imports=("overlaid",), environment=overlay(variables={"OF_THE_ENVIRONMENT": "yes"})
    )
    recorder = Recorder()
    run_sweep(plan(subject, rows=[1]), store, options(cache_dir=tmp_path / "cache"), recorder)
    (record,) = store.records()
    assert record.output == "from the wheel None 1 1 yes\n"
    assert [type(event) for event in recorder.events[1:3]] == [EnvironmentPreparing, EnvironmentReady]
    assert recorder.events[0].scrubbed == {"ACCELERATE_MIXED_PRECISION": "fp16"}
    assert capfd.readouterr() == ("", "")


def test_an_environment_that_cannot_be_made_costs_its_own_cells(wheels, tmp_path, store):
    """The others run; each of its cells says why it could not."""
    broken = FakeSubject(name="broken", environment=overlay(requirements=("over-laid==9.9",)))
    recorder = Recorder()
    finished = run_sweep(plan(broken, FakeSubject()), store, options(cache_dir=tmp_path / "cache"), recorder)
    assert (finished.completed, finished.errors) == (3, 3)
    assert len(recorder.of(EnvironmentUnavailable)) == 1
    errors = {record.error.message for record in store.records() if record.error}
    assert len(errors) == 1
    assert "pip cannot install over-laid==9.9" in errors.pop()


def test_pip_is_that_of_the_interpreter_that_runs():
    """The overlay is for this interpreter, whatever `pip` is first on the path."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pip", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("pip ")
