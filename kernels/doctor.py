"""The table of the kernels: compiled for which devices, checked how, moving how many bytes."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess  # nosec - starts this interpreter on our own module
import sys
from typing import TYPE_CHECKING, Literal

from .aot import CAPABILITIES, SHARED_LIMIT, Compiled, compile_all
from .backend import BackendUnavailableError, triton_missing
from .builds import all_builds, sample_builds
from .catalogue import CATALOGUE, KernelEntry
from .traffic import Sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KernelRow:
    """One row of the table; bytes are those of both passes at `sizes`.

    Attributes:
        kernel: Public name.
        forward: What runs forward: Triton kernels and, after `+`, the library that does the products.
        backward: What runs backward.
        dtypes: Element types.
        interpreter_checked: dtype -> error in units of the tolerance, under Triton's interpreter; empty if no
            Triton kernel is involved or the check was not asked for.
        compiled_for: Device generations for which every build compiled, as `sm_80`.
        builds: Number of builds compiled, over all generations.
        registers: Most registers a thread.
        spill_bytes: Most bytes spilled a thread.
        shared_bytes: Most shared memory a block.
        shared_limit_bytes: Least shared memory that a block may use on those devices.
        minimal_bytes: Bytes that any kernel must move.
        actual_bytes: Bytes that this one moves.
        unchecked_reason: Why compilation or check is missing, or None.
        library: Whether a library's kernel does all the work, so that there is nothing of ours to check.
    """

    kernel: str
    forward: str
    backward: str
    dtypes: tuple[str, ...]
    interpreter_checked: dict[str, float]
    compiled_for: tuple[str, ...]
    builds: int
    registers: int
    spill_bytes: int
    shared_bytes: int
    shared_limit_bytes: int
    minimal_bytes: int
    actual_bytes: int
    unchecked_reason: str | None
    library: bool

    @property
    def state(self) -> Literal["sound", "faulty", "unchecked", "library"]:
        """Sound only if compiled and checked, within tolerance, without spills, inside the shared memory."""
        within = all(error <= 1 for error in self.interpreter_checked.values())
        if not within or self.spill_bytes or self.shared_bytes > self.shared_limit_bytes:
            return "faulty"
        if self.library:
            return "library"
        return "sound" if self.builds and self.interpreter_checked else "unchecked"

    @staticmethod
    def columns() -> tuple[str, ...]:
        """Headings of the table of findings."""
        return (
            "kernel",
            "state",
            "error/\ntoler.",
            "builds",
            "regs",
            "spills\nB",
            "shared\nKiB",
            "moved /\nminimal",
        )

    def cells(self) -> tuple[str, ...]:
        """The findings as text, a cell for each heading; what was not found out is a dash, not a 0."""
        compiled = bool(self.builds)
        return (
            self.kernel,
            self.state,
            f"{max(self.interpreter_checked.values()):.2f}" if self.interpreter_checked else "-",
            str(self.builds) if compiled else "-",
            str(self.registers) if compiled else "-",
            str(self.spill_bytes) if compiled else "-",
            f"{self.shared_bytes / 1024:.0f}" if compiled else "-",
            f"{self.actual_bytes / self.minimal_bytes:.2f}",
        )

    def details(self) -> dict[str, str]:
        """What stands behind the findings, by name."""
        checked = (f"{dtype} {error:.2f}" for dtype, error in self.interpreter_checked.items())
        facts = {
            "forward": self.forward,
            "backward": self.backward,
            "dtypes": " ".join(self.dtypes),
            "interpreter-checked (error / tolerance)": " ".join(checked),
            "compiled for": " ".join(self.compiled_for),
            "shared memory": f"{self.shared_bytes} B of {self.shared_limit_bytes} B a block"
            if self.builds
            else "",
            "bytes moved": f"{self.actual_bytes / 2**20:.0f} MiB, minimal {self.minimal_bytes / 2**20:.0f} MiB",
            self.state: self.unchecked_reason or "",
        }
        return {name: text for name, text in facts.items() if text}


def interpreter_errors() -> dict[str, dict[str, float]]:
    """Kernel -> dtype -> error in units of the tolerance, from a child under Triton's interpreter.

    Raises:
        BackendUnavailableError: Triton is missing, or the child broke down.
    """
    if (reason := triton_missing()) is not None:
        raise BackendUnavailableError(f"kernels cannot be checked: {reason}")
    child = subprocess.run(  # noqa: S603 - this interpreter, our module
        [sys.executable, "-P", "-m", f"{__package__}.selfcheck"],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode not in (0, 1) or not child.stdout.startswith("{"):
        raise BackendUnavailableError(f"the interpreter check broke down: {child.stderr.strip()[-500:]}")
    errors: dict[str, dict[str, float]] = json.loads(child.stdout)["errors"]
    return errors


def _names(entry: KernelEntry, *, backward: bool) -> str:
    kernels = sorted({b.function for b in entry.builds if b.backward is backward})
    return " + ".join([*kernels, *([entry.products] if entry.products else [])])


def _row(
    entry: KernelEntry,
    compiled: list[Compiled],
    errors: dict[str, float],
    sizes: Sizes,
    reason: str | None,
) -> KernelRow:
    capabilities = sorted({c.capability for c in compiled})
    return KernelRow(
        kernel=entry.name,
        forward=_names(entry, backward=False),
        backward=_names(entry, backward=True),
        dtypes=entry.dtypes,
        interpreter_checked=errors,
        compiled_for=tuple(f"sm_{c}" for c in capabilities),
        builds=len(compiled),
        registers=max((c.registers for c in compiled), default=0),
        spill_bytes=max((c.spill_bytes for c in compiled), default=0),
        shared_bytes=max((c.shared_bytes for c in compiled), default=0),
        shared_limit_bytes=min((SHARED_LIMIT[c] for c in capabilities), default=0),
        minimal_bytes=entry.traffic.minimal(sizes),
        actual_bytes=entry.traffic.actual(sizes),
        unchecked_reason=reason,
        library=not entry.builds,
    )


def doctor_table(
    *,
    full: bool = True,
    check: bool = True,
    capabilities: Iterable[int] = CAPABILITIES,
    sizes: Sizes | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[KernelRow]:
    """One row for every public kernel; compiles and checks on the spot, and says so where it cannot.

    Args:
        full: Compile every size and dtype (about two minutes on one core, seconds when Triton's cache has
            them), or the largest size of each kernel in bfloat16.
        check: Run the kernels under Triton's interpreter in a child process (some seconds).
        capabilities: Device generations to compile for.
        sizes: Sizes at which bytes are counted; None is a Llama-3-8B layer over 4,096 tokens.
        progress: Called with the number of builds done and the total.

    Returns:
        The rows, in the order of the catalogue.
    """
    reason: str | None = None
    compiled: list[Compiled] = []
    errors: dict[str, dict[str, float]] = {}
    try:
        compiled = compile_all(all_builds() if full else sample_builds(), capabilities, progress=progress)
        errors = interpreter_errors() if check else {}
    except BackendUnavailableError as error:
        reason = str(error)
    rows = []
    for entry in CATALOGUE:
        mine = [c for c in compiled if entry.name in c.build.serves]
        library = not entry.builds
        rows.append(
            _row(
                entry,
                mine,
                errors.get(entry.name, {}),
                sizes or Sizes(),
                "a library's kernel: nothing of ours to compile" if library else reason,
            )
        )
    return rows
