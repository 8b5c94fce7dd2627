"""Every public kernel against its reference on small shapes: `python -P -m stepaudit.kernels.selfcheck`.

Run with `TRITON_INTERPRET=1` it checks the Triton kernels on a machine without a GPU; `doctor` starts it so.
It prints one JSON object: kernel -> dtype -> largest error in units of the tolerance (at most 1 is right).
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .backend import active_backend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# A result passes through at most 16 roundings to its dtype (the longest chain, the adapted MLP's backward pass,
# has 12); each moves it by half a unit, relative to the largest element of the tensor.
ROUNDINGS = 16


def _randn(*shape: int, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64) * scale


def _adapters() -> dict[str, Tensor]:
    return {"x": _randn(5, 24), "lora_a": _randn(4, 24, scale=0.2), "lora_b": _randn(24, 4, scale=0.2)}


def _linear(module: Any, t: dict[str, Tensor], frozen: Mapping[str, Any]) -> Any:
    return module.lora_linear(t["x"], frozen["weight"], t["lora_a"], t["lora_b"], scaling=0.5)


def _record(t: dict[str, Tensor], frozen: Mapping[str, Any]) -> Any:
    from .lora import LoraWeights

    return LoraWeights(weight=frozen["weight"], lora_a=t["lora_a"], lora_b=t["lora_b"], scaling=0.5)


def _cases() -> dict[str, tuple[str, Callable[[Any, dict[str, Tensor], Mapping[str, Any]], Any], Any, Any]]:
    """Kernel -> (folder, call, differentiable inputs, frozen inputs)."""
    weight = {"weight": _randn(24, 24, scale=0.2)}
    labels = {"labels": torch.tensor([3, -100, 36, 0, 5])}
    loss = {"softcap": 5.0, "label_smoothing": 0.1, "z_loss": 0.01, "num_items_in_batch": 7}
    angles = _randn(1, 5, 8)
    tables = {"cos": angles.cos(), "sin": angles.sin()}
    return {
        "rms_norm": (
            "norms",
            lambda m, t, _: m.rms_norm(t["x"], t["w"], eps=1e-6, offset=1.0),
            {"x": _randn(5, 33), "w": _randn(33)},
            {},
        ),
        "add_rms_norm": (
            "norms",
            lambda m, t, _: m.add_rms_norm(t["x"], t["r"], t["w"], eps=1e-6),
            {"x": _randn(5, 33), "r": _randn(5, 33), "w": _randn(33)},
            {},
        ),
        "layer_norm": (
            "norms",
            lambda m, t, _: m.layer_norm(t["x"], t["w"], t["b"], eps=1e-6),
            {"x": _randn(5, 33), "w": _randn(33), "b": _randn(33)},
            {},
        ),
        "rope": (
            "rope",
            lambda m, t, f: m.rope(t["q"], t["k"], f["cos"], f["sin"]),
            {"q": _randn(2, 4, 5, 8), "k": _randn(2, 2, 5, 8)},
            tables,
        ),
        "swiglu": (
            "gated",
            lambda m, t, _: m.swiglu(t["g"], t["u"]),
            {"g": _randn(5, 33), "u": _randn(5, 33)},
            {},
        ),
        "geglu": (
            "gated",
            lambda m, t, _: (m.geglu(t["g"], t["u"]), m.geglu(t["h"], t["v"], approximate="tanh")),
            {"g": _randn(5, 33), "h": _randn(5, 33), "u": _randn(5, 33), "v": _randn(5, 33)},
            {},
        ),
        "cross_entropy": (
            "cross_entropy",
            lambda m, t, f: m.cross_entropy(t["z"], f["labels"], **loss),
            {"z": _randn(5, 37)},
            labels,
        ),
        "fused_linear_cross_entropy": (
            "linear_cross_entropy",
            lambda m, t, f: m.fused_linear_cross_entropy(t["h"], t["w"], f["labels"], chunk_tokens=2, **loss),
            {"h": _randn(5, 8), "w": _randn(37, 8, scale=0.5)},
            labels,
        ),
        "lora_linear": ("lora", _linear, _adapters(), weight),
        "lora_qkv": (
            "lora",
            lambda m, t, f: m.lora_qkv(t["x"], *[_record(t, f)] * 3),
            _adapters(),
            weight,
        ),
        "lora_mlp": ("lora", lambda m, t, f: m.lora_mlp(t["x"], *[_record(t, f)] * 3), _adapters(), weight),
    }


def _cast(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {k: t.to(dtype) if t.is_floating_point() else t for k, t in tensors.items()}


def _run(module: Any, call: Any, inputs: Mapping[str, Tensor], frozen: Mapping[str, Tensor]) -> list[Tensor]:
    leaves = {k: t.clone().requires_grad_() for k, t in inputs.items()}
    # kernels may write gradients over their inputs: never hand them a leaf
    outputs = call(module, {k: t * 1 for k, t in leaves.items()}, frozen)
    outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
    weights = [
        torch.linspace(-1, 1, y.numel(), dtype=torch.float64).reshape(y.shape) if y.dim() else torch.ones(())
        for y in outputs
    ]
    torch.autograd.backward(outputs, [w.to(y.dtype) for w, y in zip(weights, outputs, strict=True)])
    return [*(y.detach() for y in outputs), *(t.grad for t in leaves.values() if t.grad is not None)]


def check_kernels(dtypes: tuple[torch.dtype, ...] = DTYPES) -> dict[str, dict[str, float]]:
    """Largest error of outputs and gradients, in units of the tolerance, by kernel and dtype.

    Args:
        dtypes: What to check.

    Returns:
        Kernel -> dtype name -> error; at most 1 is right, NaN and above are wrong.
    """
    torch.manual_seed(0)
    public = importlib.import_module(__package__ or "")
    table: dict[str, dict[str, float]] = {}
    for name, (folder, call, inputs, frozen) in _cases().items():
        reference = importlib.import_module(f".{folder}.reference", __package__)
        for dtype in dtypes:
            mine, fixed = _cast(inputs, dtype), _cast(frozen, dtype)
            got = _run(public, call, mine, fixed)
            want = _run(reference, call, _cast(mine, torch.float64), _cast(fixed, torch.float64))
            assert len(got) == len(want)
            unit = ROUNDINGS * torch.finfo(dtype).eps
            errors = [
                float((g.double() - w).abs().max() / (unit * w.abs().max()))
                for g, w in zip(got, want, strict=True)
            ]
            worst = max(errors, key=lambda e: (e != e, e))  # noqa: PLR0124 - NaN is the worst of all
            table.setdefault(name, {})[str(dtype).removeprefix("torch.")] = worst
    return table


def main() -> int:
    """Print the table as JSON; 0 where every error is within its tolerance."""
    from .backend import set_backend

    set_backend("triton")
    table = check_kernels()
    json.dump({"backend": active_backend("cpu").value, "errors": table}, sys.stdout)
    return 0 if all(e <= 1 for row in table.values() for e in row.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
