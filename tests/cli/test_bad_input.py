"""What cannot be run as written gets one line with the value and the nearest valid name, exit 2, and leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

SUITE = 'schema = 1\ntitle = "mine"\nsubjects = ["plain"]\n{}\n'

WORDS = [
    (["run", "--suite", "smok"], "unknown suite 'smok'; did you mean 'smoke'?"),
    (["run", "--suite", ""], "unknown suite ''"),
    (["run", "--suite", "mine.toml"], "mine.toml: no such file"),
    (["run", "--axis", "rowz=1,2"], "unknown axis 'rowz'; did you mean 'rows'?"),
    (["run", "--axis", "rows="], "axis 'rows=' has no values"),
    (["run", "--axis", "rows=4,4"], "axis rows has the value 4 twice"),
    (["run", "--axis", "rows=abc"], "rows must be an integer, not 'abc'"),
    (["run", "--axis", "rows=true"], "rows must be an integer, not 'true'"),
    (["run", "--axis", "rows=1.5"], "rows must be an integer, not '1.5'"),
    (["run", "--axis", "rows=0"], "rows must be at least 1, not 0"),
    (["run", "--axis", "grad_accum=-3"], "grad_accum must be at least 1, not -3"),
    (["run", "--axis", "epochs=nan"], "epochs must be a finite number, not 'nan'"),
    (["run", "--axis", "epochs=1e999"], "epochs must be a finite number, not '1e999'"),
    (["run", "--axis", "drop_last=yes"], "drop_last must be true or false, not 'yes'"),
    (["run", "--axis", "lr_schedule=cosin"], "lr_schedule has no value 'cosin'; did you mean 'cosine'?"),
    (["run", "--axis", "dataset=iterable"], "sweep is empty"),
    (["run", "--subject", "hff"], "unknown subject 'hff'; did you mean 'hf'?"),
    (["run", "--subject", "unsloth-zoo"], "unsloth-zoo@VERSION"),
    (["run", "--subject", "mine.py"], "write mine.py:FUNCTION"),
    (["run", "--subject", "mine.py:train"], "cannot read mine.py"),
    (["run", "--subject", "no.such.module:train"], "cannot find module 'no.such.module'"),
    (["run", "--rule", "targt"], "unknown rule 'targt'; did you mean 'target'?"),
    (["run", "--contract", "hf5"], "unknown contract 'hf5'; did you mean 'hf-5'?"),
    (["run", "--tier", "tracee"], "unknown tier 'tracee'; did you mean 'trace'?"),
    (["run", "--select", "rowz:1"], "unknown field 'rowz'; did you mean 'rows'?"),
    (["run", "--select", "rows:99999"], "leaves none of the"),
    (["run", "--known", "mine.toml"], "mine.toml: no such file"),
    (["run", "--gate", "mine.toml"], "mine.toml: no such file"),
    (["run", "--base-ref", "main"], "--base-ref main needs known deviations of this project"),
    (["check", "--gate", "mine.toml"], "mine.toml: no such file"),
    (["compare", "nowhere"], "--subject-a and --subject-b of one run"),
    (["compare", "nowhere", "there"], "nowhere holds no verdict"),
    (["run", "--jobs", "0"], "--jobs must be at least 1, not 0"),
    (["run", "--jobs", "1.5"], "--jobs must be an integer, not '1.5'"),
    (["run", "--jobs", "true"], "--jobs must be an integer, not 'true'"),
    (["run", "--timeout", "0"], "--timeout must be a positive number of seconds, not 0"),
    (["run", "--timeout", "inf"], "--timeout must be a positive number of seconds, not inf"),
    (["run", "--memory", "nan"], "--memory must be GiB above 0"),
    (["run", "--memory", "1e999"], "--memory must be GiB above 0"),
    (["run", "--fresh-fraction", "nan"], "--fresh-fraction must be between 0 and 1, not nan"),
    (["run", "--shard", "3/2"], "a shard is i/n with 1 <= i <= n, not 3/2"),
    (["run", "--suit", "smoke"], "Did you mean --suite?"),
    (["runn"], 'Did you mean "run"?'),
    (["predict", "--rowz", "4"], "unknown axis 'rowz'; did you mean 'rows'?"),
    (["predict", "--rows", "true"], "rows must be an integer, not 'true'"),
    (["predict", "--rows", "0"], "rows must be at least 1, not 0"),
    (["predict", "--epochs", "nan"], "epochs must be a finite number, not 'nan'"),
    (["predict", "--contract", "hf"], "unknown contract 'hf'; did you mean 'hf-5'?"),
    (["check", "nowhere"], "nowhere holds no run"),
    (["report", "nowhere"], "nowhere holds no verdict"),
    (["replay", "abc", "nowhere"], "nowhere holds no run"),
    (["doctor", "kernel"], "'kernel'; did you mean 'kernels'?"),
    (["explain", "nowhere"], "nowhere holds no run"),
    (["explain", "--jobs", "1.5"], "--jobs must be an integer, not '1.5'"),
    (["explain", "--jobs", "0"], "--jobs must be at least 1, not 0"),
    (["explain", "--seed", "true"], "--seed must be an integer, not 'true'"),
    (["explain", "--held-out", "1e3"], "--held-out must be an integer, not '1e3'"),
    (["explain", "--held-out", "-1"], "--held-out must be at least 0, not -1"),
    (["explain", "--timeout", "nan"], "--timeout must be a positive number of seconds, not nan"),
    (["fuzz", "--subject", "plain", "--jobs", "2.0"], "--jobs must be an integer, not '2.0'"),
    (["fuzz", "--subject", "plain", "--jobs", "0"], "--jobs must be at least 1, not 0"),
    (["fuzz", "--subject", "plain", "--seed", "7.9"], "--seed must be an integer, not '7.9'"),
    (
        ["fuzz", "--subject", "plain", "--timeout", "0"],
        "--timeout must be a positive number of seconds, not 0",
    ),
    (["fuzz", "--subject", "plain", "--budget", "soon"], "budget must be a time like 60s or 2m, not 'soon'"),
    (["faults", "--jobs", "0"], "--jobs must be at least 1, not 0"),
    (["faults", "--jobs", "yes"], "--jobs must be an integer, not 'yes'"),
]

TABLES = [
    ("scenario = [{ rowz = 3 }]", "scenario 1: unknown field 'rowz'; did you mean 'rows'?"),
    ('scenario = [{ rows = "3" }]', "scenario 1: rows must be an integer, not '3'"),
    ("scenario = [{ rows = true }]", "scenario 1: rows must be an integer, not True"),
    ("scenario = [{ rows = 3.0 }]", "scenario 1: rows must be an integer, not 3.0"),
    ("scenario = [{ rows = 0 }]", "scenario 1: rows must be at least 1, not 0"),
    ("scenario = [{ per_device_batch_size = -1 }]", "per_device_batch_size must be at least 1, not -1"),
    ("scenario = [{ epochs = nan }]", "epochs must be a finite number, not nan"),
    ("scenario = [{ epochs = 1e999 }]", "epochs must be a finite number, not inf"),
    ("scenario = [{ drop_last = 1 }]", "drop_last must be true or false, not 1"),
    ('scenario = [{ lr_schedule = "cosin" }]', "lr_schedule has no value 'cosin'; did you mean 'cosine'?"),
    ("scenario = []", "has no scenario and no sweep"),
    ("scenaro = [{ rows = 3 }]", "unknown key 'scenaro'"),
    ("scenario = [{ rows = 3 }", "is not TOML"),
    ('contract = "hf"\nscenario = [{ rows = 3 }]', "unknown contract 'hf'; did you mean 'hf-5'?"),
    ('[[sweep]]\nkind = "grod"', "kind has no value 'grod'; did you mean 'grid'?"),
]

MODULES = [
    ("import no_such_module", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
    ("def trian(model, dataset, args): ...", "has no function 'train'; did you mean 'trian'?"),
    ("train = 3", "has no function 'train'"),
    ("def train(", "cannot be imported: SyntaxError"),
    ("raise SystemExit(3)", "importing it exits (3)"),
    ("import os; os._exit(7)", "the interpreter ended with 7"),
]


@pytest.mark.parametrize(
    ("arguments", "says"), WORDS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_a_word_of_the_command_line(stepaudit, arguments, says):
    """Names, numbers, paths."""
    done = stepaudit(*arguments)
    assert done.code == 2
    assert says in done.error
    assert stepaudit.written() == set()


@pytest.mark.parametrize(("text", "says"), TABLES)
def test_a_suite_file(stepaudit, text, says):
    """Keys, types, sizes and values of a TOML file."""
    stepaudit.write("mine.toml", SUITE.format(text))
    done = stepaudit("run", "--suite", "mine.toml")
    assert done.code == 2
    assert says in done.error
    assert stepaudit.written() == {"mine.toml"}


@pytest.mark.parametrize(("text", "says"), MODULES)
def test_a_subject_file(stepaudit, text, says):
    """A file that does not import, or has no such function, is found before the sweep."""
    stepaudit.write("mine.py", text)
    done = stepaudit("run", "--subject", "mine.py:train")
    assert done.code == 2
    assert says in done.error
    assert stepaudit.written() - {"__pycache__"} == {"mine.py"}


@pytest.mark.parametrize("place", ["/proc/nowhere", "taken/out", "taken"])
def test_an_output_directory_that_cannot_be_written(stepaudit, place):
    """The line names the directory."""
    stepaudit.write("taken", "a file")
    done = stepaudit("run", "--suite", "smoke", "--subject", "plain", "--out", place)
    assert done.code == 2
    assert place in done.error
    assert stepaudit.written() == {"taken"}


def test_a_full_disk_under_what_is_printed(stepaudit):
    """A verdict that cannot be shown is no pass."""
    with Path("/dev/full").open("w") as full:
        done = stepaudit("predict", "--rows", "4", stdout=full)
    assert done.code == 2
    assert "No space left on device" in done.error
