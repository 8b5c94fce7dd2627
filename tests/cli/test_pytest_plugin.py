"""The pytest plugin, as a team uses it: in a session of its own, with a trainer beside the tests."""

import json
import os
import shutil
import subprocess
import sys

import pytest

TESTS = """
import my_trainer
import pytest

def forgets_to_divide(model, dataset, args):
    class Undivided:
        training = True
        def __getattr__(self, name):
            return getattr(model, name)
        def __call__(self, num_items_in_batch=None, **batch):
            return model(**batch)
    return my_trainer.train(Undivided(), dataset, args)

@pytest.mark.scenarios("smoke", select="rows:9 max_steps:7")
def test_right(audit):
    assert audit(my_trainer.train).deviations == []

@pytest.mark.scenarios("smoke", select="rows:9 max_steps:7")
def test_wrong(audit):
    audit(forgets_to_divide)
"""

KNOWN = """
schema = 1
[[known]]
id = "undivided"
rule = "weight"
subject = "test_trainers:*"
where = ""
reason = "the model is handed no divisor"
upstream = "none"
owner = "us"
added = 2026-11-24
expires = 2027-05-01
"""


@pytest.fixture
def session(tmp_path, root):
    """Run pytest in a directory with a trainer and its tests; return exit code and output."""
    shutil.copy(root / "examples" / "my_trainer.py", tmp_path)
    (tmp_path / "test_trainers.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", "-rA", *arguments],
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_right_trainer_passes_and_a_wrong_one_fails_with_the_text_of_the_command_line(session, tmp_path):
    """One test id a cell; rule, formula, where the books part, and the reproduce line; reports where asked for."""
    code, text = session("--stepaudit-report", "out")
    assert code == 1
    assert "PASSED test_trainers.py::test_right[rows=9,B=2,A=2,max_steps=7]" in text
    assert "FAILED test_trainers.py::test_wrong[rows=9,B=2,A=2,max_steps=7]" in text
    assert "new  weight × test_trainers:forgets_to_divide" in text
    assert "1 / N = 1 / " in text
    assert "Reproduce with: stepaudit run --subject" in text
    verdict = json.loads((tmp_path / "out" / "verdict.json").read_text())
    assert verdict["exit_code"] == 1
    assert {cell["verdict"] for cell in verdict["cells"]} == {"conforms", "deviates"}
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_known_deviation_is_an_xfail_and_a_stale_one_fails(session, tmp_path):
    """Covered and shown: xfail. Covered and not shown: the entry is stale."""
    (tmp_path / "known.toml").write_text(KNOWN)
    code, text = session("--stepaudit-known", "known.toml", "-k", "wrong")
    assert code == 0
    assert "XFAIL test_trainers.py::test_wrong" in text
    (tmp_path / "known.toml").write_text(KNOWN.replace("test_trainers:*", "my_trainer:*"))
    code, text = session("--stepaudit-known", "known.toml", "-k", "right")
    assert code == 1
    assert "known deviation undivided covers cells that now conform" in text


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('scenarios("smok")', "unknown suite 'smok'; did you mean 'smoke'?"),
        ('scenarios("smoke", select="rowz:9")', "rowz"),
        ("usefixtures()", 'the audit fixture needs @pytest.mark.scenarios("SUITE")'),
    ],
)
def test_what_cannot_be_collected_is_a_usage_error(session, tmp_path, marker, message):
    """It shows the value and the nearest valid name."""
    head = f"import pytest\n\n@pytest.mark.{marker}\n"
    (tmp_path / "test_trainers.py").write_text(head + "def test_it(audit):\n    pass\n")
    code, text = session()
    assert code != 0
    assert message in text


def test_an_absent_gpu_is_a_skip_or_with_require_gpu_exit_code_3(session, tmp_path):
    """The reason is said in both cases."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    (tmp_path / "test_trainers.py").write_text(
        "import pytest\n\n@pytest.mark.gpu\ndef test_it():\n    pass\n"
    )
    code, text = session()
    assert code == 0
    assert "needs a CUDA device" in text
    code, text = session("--require-gpu")
    assert code == 3
    assert "there is no CUDA device" in text
