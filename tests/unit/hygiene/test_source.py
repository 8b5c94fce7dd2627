"""House rules that a reader of the source relies on, for the whole class of fault."""

from __future__ import annotations

import ast
import re
import subprocess

import pytest

CODE = ("harness", "kernels", "reports", "scenarios", "benchmarks", "examples")
LONGEST = 600


def _sources(root, *folders):
    return [path for folder in folders for path in sorted((root / folder).rglob("*.py"))]


def _bare_steps(tree):
    """Yield the line of every place where we name something `step`; using somebody else's name is no such place."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id="step", ctx=ast.Store()) | ast.arg(arg="step") | ast.alias(asname="step"):
                yield node.lineno
            case ast.FunctionDef(name="step") | ast.AsyncFunctionDef(name="step") | ast.ClassDef(name="step"):
                yield node.lineno
            case ast.Attribute(attr="step", ctx=ast.Store()):
                yield node.lineno


def test_the_bare_word_step_names_nothing(root):
    """Optimizer, scheduler, trainer and loop all have steps: a name says which (DESIGN, section 2)."""
    found = [
        f"{path.relative_to(root)}:{line}"
        for path in _sources(root, *CODE)
        for line in _bare_steps(ast.parse(path.read_text()))
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "step = 1",
        "def step(): ...",
        "def f(step): ...",
        "class A:\n  step: int",
        "x.step = 1",
        "import a as step",
    ],
)
def test_the_ban_sees_every_way_to_name_a_thing(text):
    """A rule that sees nothing passes for ever."""
    assert list(_bare_steps(ast.parse(text)))


@pytest.mark.parametrize("text", ["optimizer.step()", "f(step=1)", "entry['step']", "optimizer_step = 1"])
def test_the_ban_leaves_other_peoples_names_alone(text):
    """Torch and transformers call things `step`, and we have to call them so too."""
    assert not list(_bare_steps(ast.parse(text)))


def test_no_file_is_longer_than_a_sitting(root):
    """600 lines are the end (STYLE, house rule 1)."""
    found = {
        str(path.relative_to(root)): lines
        for path in _sources(root, *CODE, "tests")
        if (lines := len(path.read_text().splitlines())) > LONGEST
    }
    assert found == {}


def test_no_path_of_a_machine_is_in_the_tree(root):
    """What is committed runs anywhere: no home directory, no checkout of somebody's."""
    places = re.compile(r"(?<![\w.])/(?:work|home|opt|root|Users|mnt|scratch)/[\w.-]")
    found = [
        f"{path.relative_to(root)}: {match[0]}"
        for path in _tracked(root)
        if (match := places.search(path.read_text(encoding="utf-8", errors="replace")))
    ]
    assert found == []


def _tracked(root):
    """Give every file that git knows or would add; without git, every text file of the folders."""
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return [path for folder in (*CODE, "tests", "design") for path in (root / folder).rglob("*.*")]
    return [path for name in done.stdout.splitlines() if (path := root / name).is_file()]
