"""Runs one kernel, forward and backward, on request: in-process, or in a child under Triton's interpreter.

`TRITON_INTERPRET=1` must be set before Triton is imported and holds for a whole process, which could then
compile nothing. So the interpreter lives in a child that is started once a session and asked over pipes; the
tests, hypothesis and ahead-of-time compilation stay in the parent.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import pickle
import struct
import subprocess
import sys
import traceback
from typing import Any

import torch
from torch import Tensor


@dataclasses.dataclass(kw_only=True)
class Request:
    """A call: `kernel(**tensors, **options)`; dotted names (`q.weight`) are gathered into LoraWeights."""

    kernel: str
    tensors: dict[str, Tensor | None]
    differentiable: tuple[str, ...]
    options: dict[str, Any]
    seed: int = 0


@dataclasses.dataclass(kw_only=True)
class Result:
    outputs: list[Tensor]
    grads: dict[str, Tensor]


def execute(request: Request, module: Any) -> Result:
    """Call the function of `module`, send seeded gradients back, return outputs and gradients."""
    leaves: dict[str, Tensor | None] = {}
    for name, tensor in request.tensors.items():
        needs = name in request.differentiable and tensor is not None
        leaves[name] = tensor.detach().requires_grad_() if needs else tensor
    outputs = getattr(module, request.kernel)(**_gathered(leaves), **request.options)
    outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
    kept = [y.detach().clone() for y in outputs]
    generator = torch.Generator().manual_seed(request.seed)
    grads = [
        torch.randn(y.shape, generator=generator, dtype=torch.float32)
        .to(torch.bfloat16)
        .to(y.device, y.dtype)
        for y in outputs
    ]
    torch.autograd.backward(outputs, grads)
    return Result(outputs=kept, grads={n: leaves[n].grad for n in request.differentiable})


def _gathered(leaves: dict[str, Any]) -> dict[str, Any]:
    from stepaudit.kernels import LoraWeights

    flat: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for name, value in leaves.items():
        group, dot, field = name.partition(".")
        if dot:
            groups.setdefault(group, {})[field] = value
        else:
            flat[name] = value
    return flat | {name: LoraWeights(scaling=0.5, **fields) for name, fields in groups.items()}


def _send(stream: Any, value: Any) -> None:
    data = pickle.dumps(value)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def _receive(stream: Any) -> Any:
    head = stream.read(8)
    if len(head) < 8:
        raise EOFError
    return pickle.loads(stream.read(struct.unpack("<Q", head)[0]))


class Interpreter:
    """The child that runs Triton kernels under its interpreter."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        )

    def run(self, request: Request) -> Result:
        payload = dataclasses.asdict(request)
        _send(self._child.stdin, payload)
        kind, value = _receive(self._child.stdout)
        if kind == "error":
            raise RuntimeError(f"in the interpreter's process:\n{value}")
        return Result(**value)

    def close(self) -> None:
        self._child.stdin.close()
        self._child.stdout.close()
        self._child.wait(timeout=30)


def _serve() -> None:
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not mix with the replies
    module = importlib.import_module("stepaudit.kernels")
    module.set_backend("triton")
    while True:
        try:
            request = _receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            result = execute(Request(**request), module)
            _send(replies, ("result", {"outputs": result.outputs, "grads": result.grads}))
        except Exception:  # noqa: BLE001 - the parent reports it
            _send(replies, ("error", traceback.format_exc()))


if __name__ == "__main__":
    _serve()
