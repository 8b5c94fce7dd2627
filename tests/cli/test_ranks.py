"""Several ranks from the command line: trainers that conform, a loop of one's own, its faults, and ranks that die."""

from __future__ import annotations

import pytest

FAULTS = {
    "forgets": {
        "        model = DistributedDataParallel(model)  # averages gradients over the ranks\n": "",
    },
    "same_rows": {"        dataset, ranks, rank,": "        dataset, 1, 0,"},
    "own_tokens": {
        "                dist.all_reduce(label_tokens)  # of the window on all ranks\n": "                pass\n"
    },
    "dies": {
        "            optimizer.zero_grad()\n": "            optimizer.zero_grad()\n            rank and os._exit(7)\n"
    },
    "single": {'int(os.environ.get("WORLD_SIZE", "1"))': "1", 'int(os.environ.get("RANK", "0"))': "0"},
}
"""the lines of examples/my_ddp_trainer.py that a person would get wrong"""

NAMED = {"forgets": "ranks", "same_rows": "ranks", "own_tokens": "weight", "single": "ranks"}


@pytest.fixture(scope="module")
def audited(stepaudit_in, root):
    """Trainers and loops on two ranks, in one run: nine rows, so that the last round of an epoch is padded."""
    shell = stepaudit_in("ranks")
    source = (root / "examples" / "my_ddp_trainer.py").read_text()
    shell.write("right.py", source)
    for name, lines in FAULTS.items():
        wrong = source
        for line, instead in lines.items():
            assert source.count(line) == 1, f"examples/my_ddp_trainer.py has changed: {line!r}"
            wrong = wrong.replace(line, instead)
        shell.write(f"{name}.py", wrong)
    subjects = ["hf", "fused", "accelerate", "plain", *(f"{name}.py:train" for name in ("right", *FAULTS))]
    done = shell(
        "run",
        *(word for subject in subjects for word in ("--subject", subject)),
        *("--axis", "ranks=2", "--axis", "rows=9", "--axis", "accum=2", "--axis", "epochs=2"),
        *("--no-reference", "--fresh-fraction", "0"),
    )
    assert done.code == 1, done.out + done.err
    return {cell["subject"].removesuffix(".py:train"): cell for cell in shell.verdict()["cells"]}


@pytest.mark.parametrize("subject", ["hf", "fused", "accelerate", "plain", "right"])
def test_what_shares_the_work_rightly_conforms(audited, subject):
    """Rows are dealt out, gradients averaged, every label token of all ranks weighs the same."""
    cell = audited[subject]
    assert cell["verdict"] == "conforms", cell["deviations"] or cell["error"]
    assert "ranks" in cell["rules_checked"]


@pytest.mark.parametrize("fault", NAMED)
def test_what_shares_it_wrongly_is_caught_by_its_rule(audited, fault):
    """Gradients that are never averaged, rows that every rank sees, tokens of one rank, a loop that knows of one."""
    cell = audited[fault]
    assert cell["verdict"] == "deviates", cell["error"]
    assert NAMED[fault] in {deviation["rule"] for deviation in cell["deviations"]}


def test_a_rank_that_dies_is_the_error_of_its_cell(audited):
    """The sweep goes on, and the error says which rank it was."""
    cell = audited["dies"]
    assert cell["verdict"] == "error"
    assert cell["error"]["message"] == "rank 1 of 2 exited with code 7"
