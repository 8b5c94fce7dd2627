"""What a release needs: found by pip once, over what the base has, and seen by its worker without the rest."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import zipfile

import pytest
from packaging.markers import default_environment
from stepaudit.harness.running import resolution as module
from stepaudit.harness.running.base_view import interpreter_of, make_room, show
from stepaudit.harness.running.engine import run_sweep
from stepaudit.harness.running.environment import EnvironmentFailedError, interpreter, materialise
from stepaudit.harness.running.pip import PipAnswer, reason_in
from stepaudit.harness.running.resolution import completed
from stepaudit.harness.subjects import SubjectError
from stepaudit.harness.subjects.laid_over import laid_over
from sweeps import FakeSubject, Recorder, options, plan

SERIAL = iter(range(10**6))


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A directory of wheels, the only place that pip looks at; returns what adds one."""
    directory = tmp_path / "wheels"
    directory.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))

    def add(name, version, *requires, python=""):
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
        metadata += f"Requires-Python: {python}\n" if python else ""
        stem = f"{name}-{version}"
        with zipfile.ZipFile(directory / f"{stem}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/__init__.py", f"VERSION = {version!r}\n")
            wheel.writestr(f"{stem}.dist-info/METADATA", metadata)
            wheel.writestr(
                f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{stem}.dist-info/RECORD", "")

    return add


def laid(*pins, packages=("trainerlib",)):
    """A subject that nothing remembers, with these releases laid over it."""
    return laid_over(FakeSubject(packages=packages), pins)


def says(environment, cache, code):
    """What a line of Python prints in the environment."""
    python = interpreter(environment, materialise(environment, cache))
    done = subprocess.run([python, "-P", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_what_a_release_needs_is_found_and_what_the_base_has_is_only_seen(index, tmp_path):
    """The newest that fits is laid over; a requirement that the installed release meets is not installed again."""
    index("helperlib", "1.2")
    index("helperlib", "1.9")
    index("helperlib", "2.0")
    index("trainerlib", "1.0", "helperlib<2", "packaging>=20", 'pandas; extra == "tables"')
    environment = completed(laid("trainerlib==1.0"), tmp_path / "cache").environment
    assert environment.requirements == ("helperlib==1.9", "trainerlib==1.0")
    assert f"packaging=={importlib.metadata.version('packaging')}" in environment.base
    assert not environment.asked


def test_torch_is_never_laid_over(index, tmp_path):
    """A release that wants another torch cannot be had; it does not bring one."""
    index("torch", "1.0")
    index("trainerlib", "1.0", "torch<2")
    environment = completed(laid("trainerlib==1.0"), tmp_path / "cache").environment
    assert "torch" in environment.trouble
    assert not environment.requirements


def test_the_worker_sees_the_base_only_where_it_needs_it(index, tmp_path):
    """Torch and the release are there; pandas, which the base has and the release does not ask for, is not."""
    index("trainerlib", "1.0")
    environment = completed(laid("trainerlib==1.0"), tmp_path / "cache").environment
    code = (
        "import importlib.util, importlib.metadata as m, trainerlib;"
        "found = [bool(importlib.util.find_spec(name)) for name in ('torch', 'stepaudit.harness', 'pandas')];"
        "print(trainerlib.VERSION, m.version('torch'), *found)"
    )
    torch = importlib.metadata.version("torch")
    assert says(environment, tmp_path / "cache", code) == f"1.0 {torch} True True False"


def test_what_is_laid_over_hides_the_same_distribution_of_the_base(index, tmp_path):
    """Code and metadata are both the overlaid ones."""
    index("packaging", "1.0")
    environment = completed(laid("packaging==1.0", packages=("packaging",)), tmp_path / "cache").environment
    code = "import importlib.metadata as m, packaging; print(packaging.VERSION, m.version('packaging'))"
    assert says(environment, tmp_path / "cache", code) == "1.0 1.0"


def test_found_once_then_offline(index, tmp_path, monkeypatch):
    """The second time neither finding nor making it starts a process."""
    index("trainerlib", "1.0")
    cache = tmp_path / "cache"
    first = completed(laid("trainerlib==1.0"), cache)
    place = materialise(first.environment, cache)
    monkeypatch.setattr(subprocess, "run", None)
    second = completed(laid("trainerlib==1.0"), cache)
    assert second.environment == first.environment
    assert materialise(second.environment, cache) == place


def test_another_base_is_another_answer(index, tmp_path):
    """An answer that saw a release of the base that is no longer there does not count."""
    index("trainerlib", "1.0")
    cache = tmp_path / "cache"
    completed(laid("trainerlib==1.0"), cache)
    (file,) = (cache / "resolutions").iterdir()
    answer = json.loads(file.read_text())
    file.write_text(json.dumps(answer | {"base": ["packaging==0.1"], "requirements": ["trainerlib==0.9"]}))
    assert completed(laid("trainerlib==1.0"), cache).environment.requirements == ("trainerlib==1.0",)


def test_a_release_that_does_not_exist_is_a_usage_error(index, tmp_path):
    """With the nearest that does."""
    index("trainerlib", "1.0.1")
    with pytest.raises(SubjectError, match=r"trainerlib has no release '1\.0\.2' .*did you mean '1\.0\.1'"):
        completed(laid("trainerlib==1.0.2"), tmp_path / "cache")
    with pytest.raises(SubjectError, match="no package 'no-such-trainerlib'"):
        completed(laid("no-such-trainerlib==1.0"), tmp_path / "cache")


def test_a_release_that_cannot_run_here_is_told_with_the_reason(index, tmp_path):
    """It exists, so it is no usage error: its cells say why, the others run."""
    index("trainerlib", "1.0", "helperlib>=3")
    index("helperlib", "2.0")
    subject = completed(laid("trainerlib==1.0"), tmp_path / "cache")
    assert "helperlib>=3 (from trainerlib) has no wheel for Python" in subject.environment.trouble
    with pytest.raises(EnvironmentFailedError, match="helperlib>=3"):
        materialise(subject.environment, tmp_path / "cache")


def test_a_release_of_another_python_says_which(index, tmp_path):
    """Requires-Python, as pip tells it for a folder of wheels and for an index."""
    index("trainerlib", "1.0", python="<3.8")
    trouble = completed(laid("trainerlib==1.0"), tmp_path / "cache").environment.trouble
    assert "requires a different Python" in trouble
    assert "'<3.8'" in trouble
    told = PipAnswer(
        ok=False,
        text="ERROR: Ignored the following versions that require a different python version: 1.0 Requires-Python <3.8\n"
        "ERROR: Could not find a version that satisfies the requirement trainerlib==1.0 (from versions: 0.9)\n",
    )
    assert reason_in(told).startswith("trainerlib==1.0 needs Python <3.8, and this is Python 3.")


def test_another_interpreter_is_told_how_to_get(index, tmp_path):
    """The pseudo-package `python`; the one that runs is taken as it is."""
    index("trainerlib", "1.0")
    running = default_environment()["python_version"]
    assert not completed(
        laid("trainerlib==1.0", f"python=={running}"), tmp_path / "cache"
    ).environment.trouble
    other = completed(laid("trainerlib==1.0", "python==3.99"), tmp_path / "cache").environment
    assert "Python 3.99 is asked for" in other.trouble


def test_two_releases_that_exclude_each_other_say_so(index, tmp_path):
    """Pip's own reason, in one line."""
    index("trainerlib", "1.0", "helperlib<2")
    index("helperlib", "1.0")
    index("helperlib", "2.0")
    trouble = completed(laid("trainerlib==1.0", "helperlib==2.0"), tmp_path / "cache").environment.trouble
    assert "trainerlib 1.0 depends on helperlib<2" in trouble
    assert "\n" not in trouble


def test_a_companion_that_does_not_fit_gives_way(index, tmp_path, monkeypatch):
    """What went together at the time is a wish where the subject does not name it."""
    index("trainerlib", "1.0", "helperlib<2")
    index("helperlib", "1.0")
    index("helperlib", "2.0")
    monkeypatch.setattr(module, "companions_of", lambda pins: {"helperlib": "2.0"})
    environment = completed(laid("trainerlib==1.0"), tmp_path / "cache").environment
    assert environment.requirements == ("helperlib==1.0", "trainerlib==1.0")


def test_a_sweep_finds_what_nobody_found_before(index, tmp_path, store):
    """A cell of a subject that was only named runs in its environment, and its record names the release."""
    index("trainerlib", "1.0")
    recorder = Recorder()
    cells = plan(laid("trainerlib==1.0", packages=()), rows=[1])
    finished = run_sweep(cells, store, options(cache_dir=tmp_path / "cache"), recorder)
    assert finished.completed == 1
    (record,) = store.records()
    assert record.versions["trainerlib"] == "1.0"


def test_a_worker_needs_torch_and_nothing_else(tmp_path):
    """The worker and the function that runs a cell, in a room that shows torch and what torch itself requires."""
    room = tmp_path / "room"
    site = make_room(room)
    show(site, module._seen(["torch"], {}))
    code = (
        "import stepaudit.harness.running.worker, stepaudit.harness.running.cell;"
        "from stepaudit.harness.subjects import resolve; print(resolve('hf').name)"
    )
    done = subprocess.run(
        [interpreter_of(room), "-P", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "hf", done.stderr
    assert sys.prefix != str(room)
