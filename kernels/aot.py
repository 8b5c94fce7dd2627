"""Ahead-of-time compilation of the Triton kernels, on a machine that needs no GPU.

Triton compiles to a cubin with its bundled ptxas; its bundled cuobjdump then tells registers, stack and static
shared memory. A Triton kernel has no local arrays, so every byte of stack or local memory is a register spill.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import subprocess  # nosec - the tool and its arguments are Triton's and ours
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .backend import BackendUnavailableError, interpreting, triton_missing
from .builds import DTYPES, Build, all_builds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Shared memory that one block may use, in bytes (CUDA C++ programming guide, table of compute capabilities).
SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}
CAPABILITIES = tuple(SHARED_LIMIT)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What one build uses on one device generation.

    Attributes:
        build: What was compiled.
        capability: 80, 90 or 100.
        registers: Registers a thread.
        spill_bytes: Stack and local memory a thread, 0 without spills.
        shared_bytes: Shared memory a block, static and dynamic.
    """

    build: Build
    capability: int
    registers: int
    spill_bytes: int
    shared_bytes: int

    @property
    def fits(self) -> bool:
        """Whether nothing spills and shared memory is within the device's limit."""
        return self.spill_bytes == 0 and self.shared_bytes <= SHARED_LIMIT[self.capability]


def _tool(name: str) -> Path:
    import triton

    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    if not path.exists():
        raise BackendUnavailableError(f"Triton's bundled {name} is missing: {path}")
    return path


def _source(build: Build) -> Any:
    from triton.compiler import ASTSource

    function = getattr(
        importlib.import_module(f".{build.folder}.triton_backend", __package__), build.function
    )
    element = DTYPES[build.dtype]
    types = {
        "e": f"*{element}",
        "f": "*fp32",
        "l": "*i64",
        "I": "i32",
        "i": "i32",
        "1": "constexpr",
        "s": "fp32",
    }
    codes = iter(build.arguments.split())
    signature: dict[str, str] = {}
    constants: dict[str, int | bool] = dict(build.constants)
    aligned: dict[tuple[int], list[list[Any]]] = {}
    for at, name in enumerate(function.arg_names):
        if name in build.constants:
            signature[name] = "constexpr"
            continue
        code = next(codes)
        signature[name] = types[code]
        if code == "1":
            constants[name] = 1
        elif code in "eflI":
            aligned[(at,)] = [["tt.divisibility", 16]]
    assert next(codes, None) is None, f"{build.function}: more argument codes than arguments"
    return ASTSource(fn=function, signature=signature, constexprs=constants, attrs=aligned)


_USAGE = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")


def compile_build(build: Build, capability: int) -> Compiled:
    """Compile one build for one device generation.

    Args:
        build: What to compile.
        capability: 80, 90 or 100.

    Returns:
        Registers, spills and shared memory.

    Raises:
        BackendUnavailableError: Triton or its bundled tools are missing, or it runs as an interpreter.
        ValueError: Unknown capability.
    """
    if capability not in SHARED_LIMIT:
        raise ValueError(f"capability must be one of {list(SHARED_LIMIT)}, got {capability}")
    if interpreting():
        raise BackendUnavailableError("kernels cannot be compiled while TRITON_INTERPRET=1 is set")
    if (reason := triton_missing()) is not None:
        raise BackendUnavailableError(f"kernels cannot be compiled: {reason}")
    import triton
    from triton.backends.compiler import GPUTarget

    kernel = triton.compile(
        _source(build), target=GPUTarget("cuda", capability, 32), options=dict(build.tile.options)
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        command = [str(_tool("cuobjdump")), "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - see above
    found = _USAGE.search(text)
    if found is None:
        raise RuntimeError(f"cuobjdump reported no resource usage for {build.label}: {text!r}")
    registers, stack, static, local = map(int, found.groups())
    return Compiled(
        build=build,
        capability=capability,
        registers=registers,
        spill_bytes=stack + local,
        shared_bytes=static + int(kernel.metadata.shared),
    )


def compile_all(
    builds: Iterable[Build] | None = None,
    capabilities: Iterable[int] = CAPABILITIES,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[Compiled]:
    """Compile many builds.

    Args:
        builds: What to compile; None is everything.
        capabilities: Device generations.
        progress: Called with the number done and the total.

    Returns:
        A record a build and generation.
    """
    pairs = [(b, c) for b in (all_builds() if builds is None else builds) for c in capabilities]
    records = []
    for done, (build, capability) in enumerate(pairs, 1):
        records.append(compile_build(build, capability))
        if progress is not None:
            progress(done, len(pairs))
    return records
