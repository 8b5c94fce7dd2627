"""What README and the notes say is what the code does: commands, options, codes, files, output."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex

import pytest

DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def _blocks(root, language):
    return [
        text
        for name in DOCUMENTS
        for kind, text in BLOCK.findall((root / name).read_text())
        if kind == language
    ]


def _help(command):
    """Return what `stepaudit COMMAND --help` prints."""
    from stepaudit.harness.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*command, "--help"])
    return printed.getvalue()


def _commands(root):
    """Return every `stepaudit …` of the documents, in blocks and in running text."""
    text = "\n".join((root / name).read_text() for name in DOCUMENTS)
    found = re.findall(r"(?:^|`|& |\$ |bin/)(stepaudit [a-z][^`\n&|]*)", text, re.M)
    return sorted({re.split(r" (?:and|;)", line)[0].strip() for line in found})


def test_every_command_shown_exists_with_its_options(root):
    """A reader who copies a line does not meet a usage error."""
    known = set(re.findall(r"^│ ([a-z]+)", _help([]), re.M))
    commands = _commands(root)
    assert len(commands) > 5
    for line in commands:
        words = shlex.split(line.replace("…", ""))
        assert words[1] in known, line
        if words[1] == "predict":
            continue  # its options are the scenario's fields
        command = words[1:3] if words[1] == "baseline" else words[1:2]  # whose options are its commands'
        for option in (word for word in words if word.startswith("--") and word != "--help"):
            assert option in _help(command), line


def test_the_predictions_shown_are_those_printed(root, capsys):
    """The block is the output, to the letter."""
    from stepaudit.harness.cli import main

    shown = [text for text in _blocks(root, "console") if text.startswith("$ stepaudit predict")]
    assert shown
    for text in shown:
        line, _, output = text.partition("\n")
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(line)[2:])
        assert ended.value.code == 0
        printed = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
        assert printed == output.rstrip()


def test_the_exit_codes_are_all_there(root):
    """The table of README is the enumeration."""
    from stepaudit.harness.judging.verdict import ExitCode

    table = {int(code) for code in re.findall(r"^\| (\d+) \|", (root / "README.md").read_text(), re.M)}
    assert table == {int(code) for code in ExitCode}


@pytest.mark.parametrize("kind", ["suites", "subjects"])
def test_names_that_come_with_it_are_named(root, kind):
    """README lists every committed suite and every subject that a user would ask for."""
    from stepaudit.harness.subjects import subject_names
    from stepaudit.scenarios.suites import suite_names

    text = (root / "README.md").read_text()
    names = (
        suite_names()
        if kind == "suites"
        else [
            name for name in subject_names() if name in {"hf", "plain", "accelerate", "unsloth-zoo@VERSION"}
        ]
    )
    assert names
    assert [name for name in names if f"`{name}`" not in text] == []


def test_selections_that_are_shown_can_be_read(root):
    """Every `--select "…"` of README, help and examples is a selection."""
    from stepaudit.scenarios.selection import parse_selection

    files = [
        root / "README.md",
        *(root / "harness" / "cli").glob("*.py"),
        *(root / "examples").rglob("*.yml"),
    ]
    texts = [
        text
        for file in files
        for text in re.findall(r'(?:--select|e\.g\.) "([^"]*:[^"]*)"', file.read_text())
    ]
    assert len(texts) >= 2
    for text in texts:
        parse_selection(text)


def test_the_capability_table_is_the_real_one(root):
    """docs/capabilities.md is what `stepaudit doctor subjects` prints, to the letter."""
    from stepaudit.harness.cli.capability_table import (
        capability_markdown,
        capability_matrix,
        capability_rows,
    )

    _, _, shown = (root / "docs" / "capabilities.md").read_text().partition("\n\n| |")
    assert f"| |{shown}" == capability_markdown(capability_rows()), (
        "write it again: stepaudit doctor subjects, below the head of docs/capabilities.md"
    )
    assert capability_matrix(capability_rows()).strip() in (root / "README.md").read_text(), (
        "write it again: the matrix of stepaudit doctor subjects, folded in README.md"
    )


def test_links_lead_somewhere(root):
    """Every relative link of the documents and notes is a file."""
    documents = [*(root / name for name in DOCUMENTS), *(root / "design").glob("*.md")]
    dead = [
        f"{path.relative_to(root)}: {target}"
        for path in documents
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text())
        if not (path.parent / target).exists()
    ]
    assert dead == []


def test_every_note_is_in_the_list_of_notes(root):
    """design/README.md is how one finds them."""
    listed = set(re.findall(r"\]\(([\w.-]+\.md)\)", (root / "design" / "README.md").read_text()))
    assert listed == {path.name for path in (root / "design").glob("*.md")} - {"README.md"}


def test_python_that_is_shown_is_python(root):
    """It parses, and the example that it stands for has the same head."""
    shown = _blocks(root, "python")
    assert shown
    for text in shown:
        ast.parse(text)
    assert "def train(model, dataset, args):" in shown[0]
    assert "def train(model, dataset, args):" in (root / "examples" / "my_trainer.py").read_text()


def test_the_example_suite_is_a_suite(root):
    """It loads, and names what a reader can run."""
    from stepaudit.scenarios.suites import load_suite

    suite = load_suite(root / "examples" / "suite.toml")
    assert len(suite.scenarios) > 10
    assert suite.subjects == ("hf",)
