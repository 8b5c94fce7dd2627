"""A trainer of one's own: the correct one passes every rule, each fault is caught by the rule that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

LINES = {
    "target": "target = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * per_epoch)",
    "passes": "    for passes in range(math.ceil(target / per_epoch)):\n",
    "window": "if len(window) < accumulation and done < len(loader):",
    "divisor": ", num_items_in_batch=label_tokens",
    "backward": "                part.backward()\n",
    "scheduler": "            scheduler.step()\n",
    "zero_grad": "            optimizer.zero_grad()\n",
    "claim": '{"global_step": updates,',
}
"""the lines of examples/my_trainer.py that a fault changes"""

FAULTS = {
    "target": {"target": "target = args.max_steps * math.ceil(args.num_train_epochs)"},
    "remainder": {
        "passes": LINES["passes"] + "        window = []\n",
        "window": "if len(window) < accumulation:",
    },
    "weight": {"divisor": ""},
    "leak": {"zero_grad": "", "passes": LINES["passes"] + "        optimizer.zero_grad()\n"},
    "schedule": {"scheduler": "", "backward": LINES["backward"] + "                scheduler.step()\n"},
    "claim": {"claim": '{"global_step": passes * len(loader) + done,'},
}
"""rule that names the fault: the lines as a person would get them wrong"""
FAULTS["target"]["target"] += LINES["target"].removeprefix("target = args.max_steps")


def with_fault(source: str, rule: str) -> str:
    """Return the loop with the fault that a rule names."""
    for line, wrong in FAULTS[rule].items():
        assert source.count(LINES[line]) == 1, f"examples/my_trainer.py has changed: {LINES[line]!r}"
        source = source.replace(LINES[line], wrong)
    return source


@pytest.fixture(scope="module")
def judged(stepaudit_in, my_trainer, quick):
    """The correct loop and the six faults over the smoke suite, in one run."""
    shell = stepaudit_in("faults")
    shell.write("correct.py", my_trainer)
    for rule in FAULTS:
        shell.write(f"{rule}.py", with_fault(my_trainer, rule))
    subjects = [word for name in ("correct", *FAULTS) for word in ("--subject", f"{name}.py:train")]
    done = shell("run", "--suite", "smoke", *subjects, "--no-reference", "--timeout", "30", *quick)
    assert done.code == 1, done.out + done.err
    return shell.verdict(), done


def _cells(verdict, name):
    return [cell for cell in verdict["cells"] if cell["subject"] == f"{name}.py:train"]


def test_the_correct_loop_passes_every_rule(judged):
    """Nothing deviates, nothing crashed, and every rule that it gives grounds for was asked."""
    verdict, _ = judged
    cells = _cells(verdict, "correct")
    assert {cell["verdict"] for cell in cells} == {"conforms", "unsupported"}
    asked = {rule for cell in cells for rule in cell["rules_checked"]}
    assert asked >= {
        "target",
        "claim",
        "window",
        "remainder",
        "coverage",
        "weight",
        "leak",
        "schedule",
        "epoch",
        "log",
        "clip",
    }


@pytest.mark.parametrize("rule", FAULTS)
def test_a_fault_is_caught_by_the_rule_that_names_it(judged, rule):
    """With the formula, the numbers, the first event at which the books part and a line that reproduces it."""
    verdict, _ = judged
    (cluster,) = [c for c in verdict["clusters"] if c["subject"] == f"{rule}.py:train" and c["rule"] == rule]
    assert cluster["formula"]
    assert cluster["expected"] != cluster["got"]
    assert cluster["first_divergence"]["text"]
    assert cluster["reproduce"].startswith(f"stepaudit run --subject {rule}.py:train")


def test_the_reproduce_line_reproduces(judged, stepaudit, my_trainer):
    """It is one command, and it shows the same deviation."""
    import shlex

    verdict, _ = judged
    (cluster,) = [
        c for c in verdict["clusters"] if c["subject"] == "remainder.py:train" and c["rule"] == "remainder"
    ]
    stepaudit.write("remainder.py", with_fault(my_trainer, "remainder"))
    done = stepaudit(*shlex.split(cluster["reproduce"])[1:])
    assert done.code == 1
    (again,) = [c for c in stepaudit.verdict()["clusters"] if c["rule"] == "remainder"]
    assert (again["expected"], again["got"], again["formula"]) == (
        cluster["expected"],
        cluster["got"],
        cluster["formula"],
    )


def test_the_correct_loop_passes_the_default_suite(stepaudit, my_trainer, quick):
    """More than two hundred scenarios, none of them an exception."""
    stepaudit.write("mine.py", my_trainer)
    done = stepaudit("run", "--subject", "mine.py:train", "--no-reference", *quick)
    assert done.code == 0, done.out + done.err
    counts = stepaudit.verdict()["counts"]
    assert counts["cells"] >= 200
    assert counts["conforms"] >= 150
    assert counts["deviates"] == counts["not_judged"] == 0


def test_a_file_is_named_from_anywhere(stepaudit, my_trainer, quick, tmp_path):
    """By a path with folders, and by the import name of a module of the working directory."""
    (tmp_path / "loops").mkdir()
    stepaudit.write("loops/__init__.py", "")
    stepaudit.write("loops/mine.py", my_trainer)
    subjects = ("--subject", tmp_path / "loops" / "mine.py:train", "--subject", "loops.mine:train")
    done = stepaudit("run", *subjects, "--axis", "rows=3", "--no-reference", *quick)
    assert done.code == 0, done.out + done.err
    assert stepaudit.verdict()["counts"]["conforms"] == 2


def test_a_loop_that_resumes_is_interrupted_and_judged(stepaudit_in, my_trainer, quick):
    """Where it looks for its checkpoint, rule `resume` compares; where it does not, the cell is unsupported."""
    shell = stepaudit_in("resume")
    source = (Path(__file__).parent / "resumable_loop.py").read_text()
    shell.write("resumable.py", source)
    fault = 'state["done"], state["log"]'
    assert source.count(fault) == 1
    shell.write("begins_anew.py", source.replace(fault, '0, state["log"]'))
    shell.write("never_looks.py", my_trainer)
    names = ("resumable", "begins_anew", "never_looks")
    subjects = [word for name in names for word in ("--subject", f"{name}.py:train")]
    axes = ["--axis", "rows=13", "--axis", "grad_accum=2", "--axis", "epochs=2", "--axis", "resume_at=2,6"]
    done = shell("run", *axes, *subjects, "--no-reference", "--timeout", "60", *quick)
    assert done.code == 1, done.out + done.err
    verdict = shell.verdict()
    assert {cell["verdict"] for cell in _cells(verdict, "resumable")} == {"conforms"}
    assert {cell["verdict"] for cell in _cells(verdict, "never_looks")} == {"unsupported"}
    assert "the loop never reads args.resume_from_checkpoint" in " ".join(done.out.split())
    wrong = [cell for cell in _cells(verdict, "begins_anew") if cell["verdict"] == "deviates"]
    assert wrong
    assert all("resume" in {deviation["rule"] for deviation in cell["deviations"]} for cell in wrong)
