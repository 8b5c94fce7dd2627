"""`stepaudit compare` on directories of real runs."""

from __future__ import annotations

import json
import shutil

import pytest


@pytest.fixture
def runs(stepaudit, smoke):
    """A shell with two copies of one finished run, and a function that edits the verdict of the second."""
    for name in ("a", "b"):
        shutil.copytree(smoke[0].folder / "stepaudit-out", stepaudit.folder / name)
    path = stepaudit.folder / "b" / "verdict.json"

    def edit(change):
        verdict = json.loads(path.read_text())
        change(verdict)
        path.write_text(json.dumps(verdict))

    return stepaudit, edit


def test_a_run_is_no_worse_than_itself(runs):
    """Exit 0, and the files where asked for."""
    shell, _ = runs
    done = shell("compare", "a", "b", "--out", "c")
    assert done.code == 0, done.err
    assert "NO WORSE" in done.out
    written = json.loads((shell.folder / "c" / "compare.json").read_text())
    judged = [cell for cell in shell.verdict("a")["cells"] if cell["account"]]
    assert written["counts"]["compared"] == len(judged) > 3
    assert written["environment"] == []
    assert (shell.folder / "c" / "compare.md").read_text().startswith("# NO WORSE")


def test_the_environment_is_shown_before_what_differs(runs):
    """A version, then the count that changed, then how to see it again."""
    shell, edit = runs

    def change(verdict):
        verdict["environment"]["packages"]["torch"] = "9.9"
        next(cell for cell in verdict["cells"] if cell["account"])["account"]["observed"][
            "optimizer_steps"
        ] = 77

    edit(change)
    done = shell("compare", "a", "b")
    assert done.code == 1
    at = [
        done.out.index(text)
        for text in ("ENVIRONMENT", "-> 9.9", "DRIFTED (1 cell)", "-> 77", "Reproduce with")
    ]
    assert at == sorted(at)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_missing_cell_fails_on_either_side(runs, order):
    """Whoever lacks it."""
    shell, edit = runs
    edit(lambda verdict: verdict["cells"].remove(next(cell for cell in verdict["cells"] if cell["account"])))
    done = shell("compare", *order)
    assert done.code == 1
    assert f"ONLY IN {'A' if order == ('a', 'b') else 'B'} (1 cell)" in done.out


ROUNDED = (
    ("part.backward()", "(3.0 * part).backward()"),
    (
        "norm = clip",
        "[parameter.grad.div_(3.0) for parameter in model.parameters()]\n            norm = clip",
    ),
)
ELSEWHERE = (
    (
        "updates, epoch, log",
        "[parameter.data.mul_(1.001) for parameter in model.parameters()]\n    updates, epoch, log",
    ),
)
NO_END = (("if updates == target:", "if updates > target:"),)
"""the same sums in other roundings; from other parameters; one update too many"""
OTHER_ROWS = "other rows or another order: not compared"


@pytest.fixture(scope="module")
def trained(stepaudit_in, my_trainer, quick):
    """Four loops on a real model and one scenario; judged by their windows, which are right in all of them."""
    shell = stepaudit_in("trained")
    loops = {"plain": (), "rounded": ROUNDED, "elsewhere": ELSEWHERE, "longer": NO_END}
    for name, changes in loops.items():
        text = my_trainer
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        shell.write(f"{name}.py", text)
    axes = ("model=tiny-llama", "rows=6", "max_steps=3", "grad_accum=2", "optimizer=sgd")
    subjects = [word for name in loops for word in ("--subject", f"{name}.py:train")]
    options = [*subjects, *(word for axis in axes for word in ("--axis", axis)), "--tier", "numeric"]
    done = shell("run", *options, "--rule", "window", "--no-reference", *quick)
    assert done.code == 0, done.out + done.err
    return shell


@pytest.mark.parametrize(
    ("loop", "code", "change", "rate", "loss", "norm"),
    [
        ("plain", 0, "unchanged", "=", "=", "="),
        ("rounded", 0, "unchanged", "=", "~", "=~"),
        ("elsewhere", 1, "drifted", "=", "≠", "≠"),
        ("longer", 1, "drifted", "≠", OTHER_ROWS, OTHER_ROWS),
    ],
)
def test_curves_of_real_runs(trained, loop, code, change, rate, loss, norm):
    """Equal, within the noise of both runs, outside of it with the values where they part, of other windows."""
    pair = ("--subject-a", "plain.py:train", "--subject-b", f"{loop}.py:train")
    done = trained("compare", "stepaudit-out", "stepaudit-out", *pair, "--out", f"c-{loop}")
    assert done.code == code, done.out + done.err
    written = json.loads((trained.folder / f"c-{loop}" / "compare.json").read_text())
    (cell,) = written["cells"]
    assert cell["change"] == change
    assert (cell["curves"]["learning rate"], cell["curves"]["loss"]) == (rate, loss)
    assert cell["curves"]["gradient norm"] in norm  # a norm may round to the very same
    told = {item["what"]: (item["a"], item["b"]) for item in cell["differences"]}
    if change == "unchanged":
        assert told == {}
    elif loop == "elsewhere":
        assert list(told) == ["loss of update 1", "gradient norm of update 1"]
        assert "loss of update 1: " in done.out
    else:
        assert told["observed optimizer_steps"] == ("3", "4")
        assert told["learning rate"] == ("3 updates", "4 updates")


def test_nothing_in_common_is_no_pass(runs):
    """Exit 4, and the subjects by name; paired by hand it is a comparison."""
    shell, edit = runs
    edit(lambda verdict: [cell.update(subject="plain@2") for cell in verdict["cells"]])
    done = shell("compare", "a", "b")
    assert done.code == 4
    assert "subjects of A: plain; of B: plain@2" in " ".join(done.out.split())
    assert shell("compare", "a", "b", "--subject-a", "plain", "--subject-b", "plain@2").code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a"], "--subject-a and --subject-b of one run"),
        (["a", "b", "--subject-a", "plain"], "go together"),
        (
            ["a", "b", "--subject-a", "plane", "--subject-b", "plain"],
            "'plane' is none of them; did you mean 'plain'?",
        ),
        (["a", "nowhere"], "nowhere holds no verdict"),
    ],
)
def test_what_cannot_be_compared_is_told(runs, arguments, says):
    """One line, exit 2."""
    done = runs[0]("compare", *arguments)
    assert done.code == 2
    assert says in done.error
