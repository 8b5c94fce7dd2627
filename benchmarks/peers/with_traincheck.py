"""TrainCheck 0.2.0: collect, infer, collect, check, as its README says, on every loop that is named.

The reference is the correct loop; its invariants are inferred once. A second run of the correct loop, with another
seed, is the control: an invariant that this healthy run breaks is noise, and a fault is seen where its run (same seed
as the control) breaks another one. The loop is one flat script (`flat_script`), with a step and stages annotated, since
the tracer finds steps only in `for` loops that call `.step()` or `.backward()` themselves.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import arena
from flat_script import write_script
from stepaudit.harness.running.environment import default_cache

SETTING = arena.SETTINGS[1]


def main() -> None:
    """Names on the command line; an answer a line, and before them one about the reference."""
    began = _used()
    home = reference_home()
    invariants = home / "invariants.json"
    if not invariants.is_file():
        infer(home, invariants)
    noise = home / "noise.json"
    if not noise.is_file():
        collect(home / "control", None, seed=1, invariants=invariants)
        noise.write_text(json.dumps(sorted(violated(home / "control", invariants))))
    known = set(json.loads(noise.read_text()))
    arena.tell(
        name="", outcome="ready", seconds=_used() - began, checks=0, failing=0,
        text=f"{len(invariants.read_text().splitlines())} invariants, {len(known)} of them broken by a healthy run"
        + (
            f"; inferred without APIContainRelation, on which inference fails: {failed.read_text()[-120:]}"
            if (failed := home / "failed.txt").is_file()
            else ""
        ),
    )  # fmt: skip
    for name in sys.argv[1:]:
        began = _used()
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            where = Path(scratch)
            try:
                collect(where, name, seed=1, invariants=invariants)
                new = sorted(violated(where, invariants) - known)
            except RuntimeError as error:
                arena.tell(
                    name=name, outcome="error", text=str(error), checks=1, failing=0, seconds=_used() - began
                )
                continue
        arena.tell(
            name=name, outcome="caught but unnamed" if new else "missed", text=new[0] if new else "", checks=1,
            failing=len(new), seconds=_used() - began,
        )  # fmt: skip


def infer(home: Path, invariants: Path) -> None:
    """Trace the correct loop and infer its invariants, without the relation that inference fails on, if it does."""
    traced = home / "reference" / "traced"
    if not traced.is_file():
        collect(home / "reference", None, seed=0)
        traced.touch()
    asked = ["-f", str(home / "reference" / "trace"), "-o", str(home / "made.json")]
    try:
        call("traincheck.infer_engine", *asked, cwd=home)
    except RuntimeError as error:
        (home / "failed.txt").write_text(str(error), encoding="utf-8")
        call("traincheck.infer_engine", *asked, "--disable-relation", "APIContainRelation", cwd=home)
    (home / "made.json").rename(invariants)


def reference_home() -> Path:
    """Where reference and control are kept: a directory for this very script."""
    with tempfile.TemporaryDirectory() as scratch:
        write_script(Path(scratch) / "script.py", None, SETTING, seed=0)
        text = (Path(scratch) / "script.py").read_text(encoding="utf-8").replace(scratch, "")
    home = default_cache() / "peer-traincheck-traces" / hashlib.sha256(text.encode()).hexdigest()[:16]
    home.mkdir(parents=True, exist_ok=True)
    return home


def collect(where: Path, name: str | None, *, seed: int, invariants: Path | None = None) -> None:
    """Run a script under the tracer; with invariants only what they need is traced."""
    write_script(where / "script.py", name, SETTING, seed=seed)
    only = ["--invariants", str(invariants)] if invariants else []
    script, output = str(where / "script.py"), str(where / "trace")
    command = ["--pyscript", script, "--models-to-track", "model", "--output-dir", output, *only]
    call("traincheck.collect_trace", *command, cwd=where)


def violated(where: Path, invariants: Path) -> set[str]:
    """Check a trace offline and return the invariants that it breaks, by their text."""
    result = where / "result"
    trace = str(where / "trace")
    call(
        "traincheck.checker",
        "-f",
        trace,
        "-i",
        str(invariants),
        "-o",
        str(result),
        "--no-html-report",
        cwd=where,
    )
    found = set()
    for path in result.rglob("failed*.log"):
        for table in _documents(path.read_text()):
            if table.get("check_passed", True) is False or "invariant" in table:
                invariant = table.get("invariant", {})
                found.add(invariant.get("text_description") or json.dumps(invariant.get("params")))
    return found


def _documents(text: str) -> list[dict[str, object]]:
    """Return the JSON objects that stand one after the other in a file."""
    decoder, at, made = json.JSONDecoder(), 0, []
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        table, at = decoder.raw_decode(text, at)
        made.append(table)
    return made


def call(module: str, *arguments: str, cwd: Path) -> None:
    """Run one of TrainCheck's commands with this interpreter.

    Raises:
        RuntimeError: it failed; the message is its last lines.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        last = [line for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
        raise RuntimeError(f"{module}: " + " | ".join(last[-4:])[-600:])


def _used() -> float:
    both = (resource.getrusage(kind) for kind in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF))
    return sum(used.ru_utime + used.ru_stime for used in both)


if __name__ == "__main__":
    main()
