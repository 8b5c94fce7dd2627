"""pyproject.toml says what is on disk: every folder with Python is packaged, every file beside it is shipped."""

from __future__ import annotations

import fnmatch
import tomllib

import pytest

FOLDERS = ("harness", "kernels", "reports", "scenarios")


@pytest.fixture(scope="module")
def setuptools_table(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]


def _code_folders(root):
    for top in FOLDERS:
        for folder in [root / top, *(root / top).rglob("*")]:
            if folder.is_dir() and any(folder.glob("*.py")):
                yield folder.relative_to(root)


def test_the_package_list_is_the_folders_on_disk(root, setuptools_table):
    """A folder that is added, renamed or removed shows up here before it is missing from a wheel."""
    found = sorted("stepaudit." + ".".join(folder.parts) for folder in _code_folders(root))
    assert setuptools_table["packages"] == found


def test_every_folder_of_code_is_a_package(root):
    """Without `__init__.py` a folder becomes a namespace of its own, which tools of every kind treat differently."""
    assert [
        str(folder) for folder in _code_folders(root) if not (root / folder / "__init__.py").is_file()
    ] == []


def test_the_namespace_has_no_folder(root):
    """A `stepaudit/` at the root would shadow an installed wheel."""
    assert not (root / "stepaudit").exists()


@pytest.mark.parametrize("top", FOLDERS)
def test_every_file_beside_the_code_is_package_data(root, setuptools_table, top):
    """Suites, templates, schemas and `py.typed` reach the wheel by a pattern of `package-data`."""
    patterns = setuptools_table["package-data"][f"stepaudit.{top}"]
    files = [
        path.relative_to(root / top).as_posix()
        for path in (root / top).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    ]
    assert "py.typed" in files
    assert [name for name in files if not any(_matches(name, pattern) for pattern in patterns)] == []


def _matches(name: str, pattern: str) -> bool:
    return name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern)
