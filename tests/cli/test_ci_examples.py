"""The workflows in examples/ci are YAML, and every option in them exists."""

from __future__ import annotations

import contextlib
import io
import re
import shlex

import pytest
import yaml

FILES = ("github.yml", "action.yml", "gitlab.yml")


def _scripts(value):
    """Give every text that a shell runs."""
    match value:
        case dict():
            for key, inner in value.items():
                if key in {"run", "script", "before_script", "after_script"}:
                    yield from inner if isinstance(inner, list) else [inner]
                else:
                    yield from _scripts(inner)
        case list():
            for inner in value:
                yield from _scripts(inner)


def _help(*command):
    from stepaudit.harness.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*command, "--help"])
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", printed.getvalue()))


@pytest.fixture(params=FILES)
def document(root, request):
    return yaml.safe_load((root / "examples" / "ci" / request.param).read_text())


def test_every_command_exists_with_its_options(document):
    """Options in an array count too: nothing in a script that begins with -- is anybody else's."""
    scripts = [text for text in _scripts(document) if isinstance(text, str)]
    commands = {match for text in scripts for match in re.findall(r"\bstepaudit ([a-z]+)", text)}
    assert "run" in commands
    known = set().union(*(_help(command) for command in commands))
    used = {
        word
        for text in scripts
        if "stepaudit" in text
        for word in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)
    }
    assert used >= {"--suite", "--out", "--base-ref"}
    assert used - known == set()


def test_github_names_what_it_needs(root):
    """History deep enough for a merge base, an artefact whatever the outcome, no rights to write."""
    workflow = yaml.safe_load((root / "examples" / "ci" / "github.yml").read_text())
    (job,) = workflow["jobs"].values()
    checkout = next(part for part in job["steps"] if part.get("uses", "").startswith("actions/checkout@"))
    assert checkout["with"]["fetch-depth"] == 0
    upload = next(part for part in job["steps"] if "upload-artifact" in part.get("uses", ""))
    assert upload["if"] == "always()"
    assert workflow["permissions"] == {"contents": "read"}


def test_no_input_is_pasted_into_a_script(document):
    """An expression inside `run:` would be code of whoever names the branch; they come as variables."""
    assert [text for text in _scripts(document) if isinstance(text, str) and "${{" in text] == []


def test_the_action_hands_the_exit_code_on(root):
    """A composite action fails as its command does."""
    action = yaml.safe_load((root / "examples" / "ci" / "action.yml").read_text())
    assert action["runs"]["using"] == "composite"
    assert 'exit "$code"' in action["runs"]["steps"][0]["run"]
    inputs = set(action["inputs"])
    assert set(re.findall(r"inputs\.([a-z-]+)", str(action))) == inputs


def test_gitlab_reads_the_junit_file(root):
    """And keeps the report, whatever the outcome."""
    (job,) = yaml.safe_load((root / "examples" / "ci" / "gitlab.yml").read_text()).values()
    artefacts = job["artifacts"]
    assert artefacts["when"] == "always"
    assert artefacts["reports"]["junit"] == f"{artefacts['paths'][0]}/junit.xml"
    for line in job["script"]:
        assert shlex.split(line)
