"""Every row of the gate's table (DESIGN, section 7), through the command line and through pytest."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

pytest_plugins = ["pytester"]

TODAY = datetime.now(UTC).date()
LOOPS = {
    "right": ("", ""),
    "wrong": ('{"global_step": updates,', '{"global_step": updates + 1,'),
    "crash": ("updates, epoch, log, window = 0, 0.0, [], []", 'raise RuntimeError("no room")'),
    "flaky": (
        "shuffle=args.shuffle,",
        "shuffle=True, generator=torch.Generator().manual_seed(int.from_bytes(os.urandom(4))),",
    ),
}
"""the loop of the examples with one thing changed: what it claims, a crash, an order that nobody seeds"""
SUITE = """
schema = 1
title = "two points, one of which no loop of one's own takes"
subjects = ["plain"]
scenario = [{ rows = 9, logging_steps = 0 }, { rows = 9, dataset = "iterable", max_steps = 2 }]
"""
POINT, UNSIZED = "dataset:sized", "dataset:iterable"
ENTRY = """
schema = 1
[[known]]
id = "one-too-many"
rule = "claim"
subject = "{subject}"
where = ""
got = "{got}"
reason = "it counts the call that ends it"
upstream = "tracker 7"
owner = "us"
added = {added}
expires = {expires}
"""


def known(subject, *, got="", age=1, life=100):
    """The text of a file of known deviations: of rule `claim`, `age` days old, for `life` days from its beginning."""
    added = TODAY - timedelta(days=age)
    text = ENTRY.format(subject=subject, got=got, added=added, expires=added + timedelta(days=life))
    return text if got else text.replace('got = ""\n', "")


GOT = "global_step = 6"
ROWS = [
    ("ok", "right", POINT, None, "", 0, "1 passed"),
    ("stale", "right", POINT, {"got": GOT}, "", 1, "1 failed"),
    ("new", "wrong", POINT, None, "", 1, "1 failed"),
    ("known", "wrong", POINT, {"got": GOT}, "", 0, "1 xfailed"),
    ("drifted", "wrong", POINT, {"got": "global_step = 7"}, "", 1, "1 failed"),
    ("expired", "wrong", POINT, {"got": GOT, "age": 120}, "", 1, "1 failed"),
    ("crash", "crash", POINT, None, "", 3, "1 failed"),
    ("a crash that is known", "crash", POINT, {}, "", 3, "1 failed"),
    ("flaky", "flaky", POINT, None, "", 1, "1 failed"),
    ("a known deviation that is flaky", "flaky", POINT, {}, "", 1, "1 failed"),
    ("unsupported", "right", "", None, "", 0, "1 passed, 1 skipped"),
    ("too much unsupported", "right", "", None, "max_unsupported = 0", 1, "1 passed, 1 skipped"),
    ("nothing compared", "right", UNSIZED, None, "", 4, "1 skipped"),
    ("too few cells", "right", POINT, None, "min_cells = 2", 1, "1 passed"),
    ("enough cells", "right", POINT, None, "min_cells = 1", 0, "1 passed"),
    ("too few rules", "right", POINT, None, "min_rules = 100", 1, "1 passed"),
    ("enough rules", "right", POINT, None, "min_rules = 3", 0, "1 passed"),
    ("too much known", "wrong", POINT, {"got": GOT}, "max_known = 0", 1, "1 xfailed"),
    ("not too much known", "wrong", POINT, {"got": GOT}, "max_known = 1", 0, "1 xfailed"),
    ("informational beside what is gated", "wrong", POINT, None, 'informational = ["other"]', 1, "1 failed"),
    ("informational alone", "wrong", POINT, None, 'informational = ["wrong*"]', 4, "1 xfailed"),
]
NAMES = [row[0] for row in ROWS]


@pytest.fixture(scope="module")
def recorded(stepaudit_in, my_trainer):
    """A shell with the loops, the suite, and a sweep of them all, in which every cell also ran in a fresh process."""
    shell = stepaudit_in("gate")
    for name, (old, new) in LOOPS.items():
        assert my_trainer.count(old or "def train") == 1
        shell.write(f"{name}.py", "import os\n\nimport torch\n" + my_trainer.replace(old, new))
    shell.write("suite.toml", SUITE)
    subjects = [word for name in LOOPS for word in ("--subject", f"{name}.py:train")]
    done = shell(
        "run", "--suite", "suite.toml", *subjects, "--no-reference", "--jobs", "1", "--fresh-fraction", "1"
    )
    assert done.code == 1, done.out + done.err
    return shell


@pytest.fixture
def here(recorded, monkeypatch):
    """The directory of the shell, as the working directory."""
    monkeypatch.chdir(recorded.folder)
    for name in ("known.toml", "pyproject.toml"):
        (recorded.folder / name).unlink(missing_ok=True)
    return recorded.folder


@pytest.mark.parametrize(("row", "loop", "select", "entry", "floor", "code", "summary"), ROWS, ids=NAMES)
def test_through_the_command_line(here, capsys, row, loop, select, entry, floor, code, summary):
    """The exit code, the counts, and the floor by its name in the first lines and in what a program reads."""
    from stepaudit.harness.cli import main

    command = [
        "run",
        "--suite",
        "suite.toml",
        "--subject",
        f"{loop}.py:train",
        "--no-reference",
        "--jobs",
        "1",
    ]
    command += ["--select", select] if select else []
    if entry is not None:
        (here / "known.toml").write_text(known(f"{loop}.py:train", **entry))
        command += ["--known", "known.toml"]
    if floor:
        (here / "pyproject.toml").write_text(f"[tool.stepaudit.gate]\n{floor}\n")
    with pytest.raises(SystemExit) as ended:
        main(command)
    printed = capsys.readouterr()
    assert ended.value.code == code, printed.out + printed.err
    verdict = json.loads((here / "stepaudit-out" / "verdict.json").read_text())
    assert verdict["exit_code"] == code
    if row in verdict["counts"]:
        assert verdict["counts"][row] == 1
    missed = [floor["term"] for floor in (verdict["gate"] or {"missed": []})["missed"]]
    assert missed == ([floor.split()[0]] if row.startswith("too ") else [])
    for term in missed:
        head = " ".join(printed.out.split("exit code")[0].split())
        assert f"{floor}: " in head
        assert term in verdict["sentence"]
        assert term.replace("_", r"\_") in (here / "stepaudit-out" / "summary.md").read_text().splitlines()[0]
        assert (
            f'classname="stepaudit.gate" name="{term}"' in (here / "stepaudit-out" / "junit.xml").read_text()
        )


@pytest.mark.parametrize(
    ("entry", "place"),
    [(None, "file=suite.toml,line=5"), ({"got": "global_step = 7"}, "file=known.toml,line=4")],
    ids=["new", "drifted"],
)
def test_github_is_told_where_to_look(here, capsys, monkeypatch, entry, place):
    """One annotation for the cluster, at its scenario or at its entry, one for the gate, and the step summary."""
    from stepaudit.harness.cli import main

    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(here / "step-summary.md"))
    (here / "step-summary.md").write_text("of another command\n")
    (here / "pyproject.toml").write_text("[project]\nname = 'x'\n[tool.stepaudit.gate]\nmin_cells = 9\n")
    command = [
        "run",
        "--suite",
        "suite.toml",
        "--subject",
        "wrong.py:train",
        "--no-reference",
        "--select",
        POINT,
    ]
    if entry is not None:
        (here / "known.toml").write_text(known("wrong.py:train", **entry))
        command += ["--known", "known.toml"]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 1
    printed = capsys.readouterr().out
    cluster, floor = [line for line in printed.splitlines() if line.startswith("::error ")]
    assert cluster.startswith(f"::error {place},title=")
    assert "Reproduce with: stepaudit run --subject wrong.py:train" in cluster
    assert floor.startswith(
        "::error file=pyproject.toml,line=3,title=gate missed%3A min_cells::min_cells = 9: judged 1"
    )
    stopped = printed.index("::stop-commands::")
    assert stopped < printed.index("FAILED") < printed.index("::error ")
    summary = (here / "step-summary.md").read_text()
    assert summary.startswith("of another command\n# ")
    assert "Reproduce with" in summary


@pytest.fixture(scope="module")
def imported():
    """What a session in this process imports, before pytester notes what to forget afterwards: torch loads but once."""
    import stepaudit.harness.audited_session
    import torch
    import transformers

    return torch, transformers.get_scheduler, stepaudit.harness.audited_session


@pytest.fixture
def session(imported, pytester, my_trainer):
    """Run pytest in this process, in a directory with the loops."""
    for name, (old, new) in LOOPS.items():
        pytester.makepyfile(**{f"{name}_loop": "import os\n\nimport torch\n" + my_trainer.replace(old, new)})
    pytester.makefile(".toml", suite=SUITE)
    pytester.makeini("[pytest]\npythonpath = .\n")

    def run(loop, *arguments, select="", known="", gate=""):
        marker = f'"suite.toml", select="{select}"' if select else '"suite.toml"'
        pytester.makepyfile(
            test_it=f"""
            import {loop}_loop
            import pytest

            @pytest.mark.scenarios({marker})
            def test_it(audit):
                audit({loop}_loop.train)
            """
        )
        if known:
            pytester.makefile(".toml", known=known)
            arguments = (*arguments, "--stepaudit-known", "known.toml")
        if gate:
            pytester.makepyprojecttoml(f"[tool.stepaudit.gate]\n{gate}\n")
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist", *arguments)

    return run


@pytest.mark.parametrize(("row", "loop", "select", "entry", "floor", "code", "summary"), ROWS, ids=NAMES)
def test_through_pytest(session, row, loop, select, entry, floor, code, summary):
    """The same rows: outcome of the test and exit code of the session."""
    subject = f"{loop}_loop:train"
    done = session(loop, select=select, known="" if entry is None else known(subject, **entry), gate=floor)
    assert done.ret == code
    assert f"{summary} in" in done.outlines[-1]
    if row.startswith("too "):
        done.stdout.fnmatch_lines([f"gate of *pyproject.toml missed: {floor}: *"])


def test_workers_of_xdist_are_one_session(session, pytester):
    """Cells of all workers are in one report, judged as one run: exit code, floor and counts."""
    session("right", "--collect-only")
    pytester.makepyfile(
        test_it="""
        import crash_loop, flaky_loop, right_loop, wrong_loop
        import pytest

        LOOPS = [crash_loop, flaky_loop, right_loop, wrong_loop]

        @pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
        @pytest.mark.scenarios("suite.toml", select="dataset:sized")
        def test_it(audit, loop):
            audit(loop.train)
        """
    )
    pytester.makepyprojecttoml("[tool.stepaudit.gate]\nmin_cells = 5\n")
    done = pytester.runpytest_subprocess("-n", "2", "-p", "no:cacheprovider", "--stepaudit-report", "out")
    assert done.ret == 1
    done.assert_outcomes(passed=1, failed=3)
    done.stdout.fnmatch_lines(
        ["*new  claim × wrong_loop:train*", "gate of *missed: min_cells = 5: judged 3, *"]
    )
    verdict = json.loads((pytester.path / "out" / "verdict.json").read_text())
    counts = verdict["counts"]
    assert [counts[name] for name in ("cells", "new", "conforms", "flaky", "not_judged")] == [4, 1, 1, 1, 1]
    assert (pytester.path / "out" / "report.html").is_file()
    done = pytester.runpytest_subprocess(
        "-n", "2", "-p", "no:cacheprovider", "--stepaudit-no-gate", "-k", "crash_loop"
    )
    assert done.ret == 3
