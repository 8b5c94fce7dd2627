"""`stepaudit doctor`: environment, devices, versions; `doctor kernels`, `doctor subjects`: tables of what there is."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import Progress
from rich.table import Table

from ...scenarios import ScenarioError, nearest
from ...scenarios.suites import suite_names
from ..contract import CONTRACTS
from ..running.environment import default_cache, scrubbed_variables
from ..subjects import subject_names

__all__ = ["doctor"]

_PACKAGES = (
    "stepaudit",
    "torch",
    "transformers",
    "accelerate",
    "triton",
    "peft",
    "trl",
    "lightning",
    "pandas",
    "pydantic",
)


def doctor(topic: str = "environment", /) -> int:
    """Show what stepaudit finds on this machine.

    Parameters
    ----------
    topic
        environment; kernels: every fused kernel compiled ahead of time, with spills and bytes moved; subjects: what
        each is audited for, what it declines and why, what is known of it, as Markdown.
    """
    console = Console(soft_wrap=True, highlight=False, markup=False)
    topics = {"environment": _environment, "kernels": _kernels, "subjects": _subjects}
    if topic not in topics:
        raise ScenarioError(f"doctor knows no topic {topic!r}{nearest(topic, topics)}")
    return topics[topic](console)


def _environment(console: Console) -> int:
    grid = Table.grid(padding=(0, 2))
    grid.add_row("python", f"{platform.python_version()} ({sys.executable})")
    grid.add_row("platform", platform.platform())
    grid.add_row("cores", str(len(os.sched_getaffinity(0))))
    grid.add_row("device", _device())
    for name in _PACKAGES:
        grid.add_row(name, _version(name))
    cache = default_cache()
    grid.add_row("environments", f"{cache} ({shutil.disk_usage(_existing(cache)).free // 2**30} GiB free)")
    for name, value in scrubbed_variables(os.environ).items():
        grid.add_row(name, f"{value} (kept from the workers)")
    grid.add_row("subjects", ", ".join(subject_names()) + ", FILE.py:FUNCTION, MODULE:FUNCTION")
    grid.add_row("suites", ", ".join(suite_names()))
    grid.add_row("contracts", ", ".join(CONTRACTS))
    console.print(grid)
    return 0


def _kernels(console: Console) -> int:
    from ...kernels.doctor import doctor_table

    # A line on a terminal only, and gone when the table comes: compiling takes minutes the first time.
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("compiling", total=None)
        rows = doctor_table(progress=lambda done, total: progress.update(task, completed=done, total=total))
    findings = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for number, name in enumerate(rows[0].columns()):
        findings.add_column(name, justify="right" if number > 1 else "left", no_wrap=True, vertical="bottom")
    for row in rows:
        findings.add_row(*row.cells())
    console.print(findings, soft_wrap=False)
    for row in rows:
        console.print(row.kernel)
        for name, text in row.details().items():
            console.print(Padding(f"{name}: {text}", (0, 0, 0, 2)), soft_wrap=False)
    return 1 if any(row.state in {"faulty", "unchecked"} for row in rows) else 0


def _subjects(console: Console) -> int:
    from .capability_table import capability_markdown, capability_rows

    console.print(capability_markdown(capability_rows()), end="")
    return 0


def _device() -> str:
    try:
        import torch
    except ImportError:
        return "torch is not installed: predict, check and report work, run does not"
    if not torch.cuda.is_available():
        return "cpu (no CUDA device: the gpu tier cannot run here)"
    return f"cuda: {torch.cuda.get_device_name()}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)
