"""What is built: the wheel has what the tree has, the source distribution builds it, a plug-in is found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

FOLDERS = ("harness", "kernels", "reports", "scenarios")
SHELL = ("LICENSE", "README.md", "pyproject.toml", *FOLDERS)


def _pip(*arguments, cwd):
    command = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        *map(str, arguments),
        "--quiet",
        "--disable-pip-version-check",
    ]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def tree(root, tmp_path_factory):
    """A copy of what is committed: no build folder of an earlier day."""
    copy = tmp_path_factory.mktemp("tree")
    for name in SHELL:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", "--wheel-dir", folder, tree, cwd=folder)
    (built,) = folder.glob("stepaudit-*.whl")
    return built


def test_the_wheel_has_every_file_of_the_folders_and_no_other(tree, wheel):
    """Code, suites, templates, schemas, `py.typed`."""
    with zipfile.ZipFile(wheel) as archive:
        shipped = {
            name.removeprefix("stepaudit/") for name in archive.namelist() if name.startswith("stepaudit/")
        }
    on_disk = {
        path.relative_to(tree).as_posix()
        for top in FOLDERS
        for path in (tree / top).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert shipped == on_disk


def test_the_wheel_names_licence_script_and_needs(wheel):
    """What an installer reads."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
        (scripts,) = [archive.read(name).decode() for name in names if name.endswith("entry_points.txt")]
    assert "License-Expression: Apache-2.0" in metadata
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "stepaudit = stepaudit.harness.cli:main" in scripts
    assert "Requires-Dist: packaging>=23" in metadata


def test_the_source_distribution_has_what_the_wheel_is_built_from(tree, tmp_path):
    """Every file of the folders is in it, so that a wheel can be built from it alone."""
    command = [sys.executable, "-P", "-m", "build", "--sdist", "--outdir", tmp_path, tree]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    missing = [
        path.relative_to(tree).as_posix()
        for top in FOLDERS
        for path in (tree / top).rglob("*")
        if path.is_file() and path.suffix != ".pyc" and path.relative_to(tree).as_posix() not in names
    ]
    assert missing == []


def test_a_plug_in_is_found_and_audited(root, tmp_path):
    """A subject of another distribution is asked for by its entry point's name, and deviates like anybody else."""
    source = tmp_path / "source"
    shutil.copytree(root / "tests" / "packages" / "toy_subject", source)
    site = tmp_path / "site"
    _pip("install", "--no-deps", "--target", site, source, cwd=tmp_path)
    stepaudit = Path(sys.executable).with_name("stepaudit")
    arguments = [
        "run",
        "--subject",
        "toy",
        "--axis",
        "rows=8",
        "--no-reference",
        "--jobs",
        "1",
        "--fresh-fraction",
        "0",
    ]
    done = subprocess.run(
        [stepaudit, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "toy" in done.stdout
    assert "target" in done.stdout
