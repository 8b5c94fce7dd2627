"""`--with`: releases laid over the subjects of a run, and what is wrong with a request for one."""

from __future__ import annotations

import zipfile

import pytest


@pytest.fixture
def shell(stepaudit, tmp_path):
    """The command where pip looks nowhere but into a folder of wheels."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, version in (("transformers", "9.9.8"), ("helperlib", "1.0")):
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/__init__.py", f"VERSION = {version!r}\n")
            about = f"{name}-{version}.dist-info"
            wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{about}/RECORD", "")
    stepaudit.variables = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "STEPAUDIT_CACHE": str(tmp_path / "cache"),
    }
    return stepaudit


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--subject", "hf", "--with", "transformers==9.9.9"],
            "transformers has no release '9.9.9' with a wheel",
        ),
        (["--subject", "hf", "--with", "transformers"], "'transformers' is not an exact release"),
        (["--subject", "hf", "--with", "transformers>=4"], "'transformers>=4' is not an exact release"),
        (["--subject", "hf", "--with", "trl==0.9.6"], "no subject of this run uses it"),
        (["--subject", "hf[transformers==9.9.9]"], "did you mean '9.9.8'"),
    ],
)
def test_what_cannot_be_laid_over_is_a_usage_error(shell, options, says):
    """One line with the value, exit code 2, nothing written."""
    done = shell("run", *options, "--axis", "rows=3")
    assert done.code == 2
    assert says in done.error
    assert "stepaudit-out" not in shell.written()


def test_a_release_is_laid_over_a_loop_of_ones_own(shell, quick):
    """It imports the overlaid package; the second time pip is not asked, and the cell is already there."""
    shell.write(
        "loop.py",
        "import helperlib\n"
        "from torch.optim import SGD\n"
        "from torch.utils.data import DataLoader\n\n\n"
        "def train(model, dataset, args):\n"
        "    assert helperlib.VERSION == '1.0'\n"
        "    optimizer = SGD(model.parameters(), lr=args.learning_rate)\n"
        "    for batch in DataLoader(dataset, batch_size=args.per_device_train_batch_size):\n"
        "        model(**batch).loss.backward()\n"
        "        optimizer.step()\n",
    )
    command = (
        "run",
        "--subject",
        "loop.py:train",
        "--with",
        "helperlib==1.0",
        "--axis",
        "rows=4",
        "--rule",
        "window",
    )
    done = shell(*command, "--no-reference", *quick)
    assert done.code == 0, done.out + done.err
    (cell,) = shell.verdict()["cells"]
    assert cell["subject"] == "loop.py:train[helperlib==1.0]"
    assert "'loop.py:train[helperlib==1.0]'" in cell["reproduce"]
    assert shell.verdict()["environment"]["packages"]["helperlib"] == "1.0"
    shell.variables |= {"PIP_FIND_LINKS": "nowhere"}
    assert shell(*command, "--no-reference", *quick).code == 0
    assert shell.verdict()["counts"]["from_store"] == 1
