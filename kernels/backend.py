"""Which implementation of a kernel runs: one explicit switch, no silent fallback."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


class Backend(StrEnum):
    """An implementation of the kernels; both compute the same autograd function."""

    TRITON = "triton"
    TORCH = "torch"


class BackendUnavailableError(RuntimeError):
    """The requested backend cannot run on this machine or device; the message says why."""


# Process-wide and not a context variable: autograd runs CUDA backward passes in threads of its own. Ops
# record the backend of their forward pass, so leaving `use_backend` before `backward()` changes nothing.
_chosen: Backend | None = None


def _parse(name: Backend | str) -> Backend:
    try:
        return Backend(name)
    except ValueError:
        names = ", ".join(repr(b.value) for b in Backend)
        raise ValueError(f"unknown kernel backend {str(name)!r}; choose one of {names}") from None


def interpreting() -> bool:
    """Whether this process runs Triton kernels in Triton's interpreter."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def triton_missing() -> str | None:
    """Why Triton cannot be imported, or None if it can."""
    return None if importlib.util.find_spec("triton") else "the package 'triton' is not installed"


def unavailable_reason(backend: Backend | str, device: torch.device | str) -> str | None:
    """Why `backend` cannot run on `device`, or None if it can.

    Args:
        backend: The backend in question.
        device: The device that holds the tensors.

    Returns:
        A sentence for the user, or None.

    Raises:
        ValueError: The backend has no such name.
    """
    device = torch.device(device)
    if _parse(backend) is Backend.TORCH:
        return None
    if (missing := triton_missing()) is not None:
        return missing
    if device.type == "cuda":
        return None
    if device.type == "cpu" and interpreting():
        return None
    return (
        f"Triton kernels run on cuda devices, not on {device.type!r}"
        " (for a slow check on the CPU start Python with TRITON_INTERPRET=1)"
    )


def active_backend(device: torch.device | str) -> Backend:
    """The backend that runs for tensors on `device`: the chosen one, else triton on cuda and torch elsewhere.

    Args:
        device: The device that holds the tensors.

    Returns:
        The backend; a report prints its value.

    Raises:
        BackendUnavailableError: The backend cannot run there.
    """
    device = torch.device(device)
    backend = _chosen or (Backend.TRITON if device.type == "cuda" else Backend.TORCH)
    if backend is Backend.TRITON:
        reason = unavailable_reason(backend, device)
        if reason is not None:
            how = "chosen" if _chosen else "the default on this device; set_backend('torch') is the other one"
            raise BackendUnavailableError(f"kernel backend 'triton' ({how}) is unavailable: {reason}")
    return backend


def set_backend(name: Backend | str | None) -> None:
    """Choose the backend of the whole process; None goes back to the default of each device.

    Args:
        name: `triton`, `torch` or None.

    Raises:
        ValueError: The backend has no such name.
        BackendUnavailableError: No device of this machine can run it.
    """
    global _chosen  # noqa: PLW0603 - one switch for the process is the contract
    backend = None if name is None else _parse(name)
    if backend is Backend.TRITON:
        reasons = [unavailable_reason(backend, d) for d in ("cpu", *(["cuda"] * torch.cuda.is_available()))]
        if None not in reasons:
            raise BackendUnavailableError(f"kernel backend 'triton' is unavailable: {reasons[-1]}")
    _chosen = backend


@contextlib.contextmanager
def use_backend(name: Backend | str | None) -> Iterator[None]:
    """Choose the backend inside a `with` block; the choice is process-wide while the block runs.

    Args:
        name: `triton`, `torch` or None (the default of each device).

    Yields:
        Nothing.
    """
    global _chosen  # noqa: PLW0603 - restores what set_backend set
    before = _chosen
    set_backend(name)
    try:
        yield
    finally:
        _chosen = before


_modules: dict[tuple[str, str], Any] = {}


def implementation(kernel: str, backend: str) -> Any:
    """The module that implements `kernel` on `backend`, imported on first use.

    Args:
        kernel: Folder name of the kernel.
        backend: Value of a `Backend`.

    Returns:
        The module; both backends' modules have the same functions.
    """
    key = (kernel, backend)
    module = _modules.get(key)
    if module is None:
        name = f"{__package__}.{kernel}.{backend}_backend"
        module = _modules[key] = importlib.import_module(name)
    return module
