"""The references themselves: right derivatives, shapes as annotated."""

from __future__ import annotations

import importlib
import inspect
import typing

import jaxtyping
import pytest
import torch
from beartype import beartype
from stepaudit.kernels import LoraWeights
from torch.autograd import gradcheck


def _reference(folder):
    return importlib.import_module(f"stepaudit.kernels.{folder}.reference")


def _randn(*shape):
    return torch.randn(shape, dtype=torch.float64)


def _adapted(t):
    return LoraWeights(weight=t["w"], lora_a=t["a"], lora_b=t["b"], scaling=0.5)


LABELS = torch.tensor([1, -100, 0, 4])
OPTIONS = {
    "softcap": 3.0,
    "logit_scale": 0.7,
    "label_smoothing": 0.1,
    "z_loss": 0.01,
    "num_items_in_batch": 7,
}
ADAPTER = {"x": (3, 4), "a": (2, 4), "b": (4, 2)}
WEIGHT = {"w": torch.linspace(-1, 1, 16, dtype=torch.float64).reshape(4, 4)}
STARTS = torch.tensor([0, 2, 2, 5])

CASES = {
    "rms_norm": (
        "norms",
        lambda r, t: r.rms_norm(t["x"], t["w"], eps=0.1, offset=1.0),
        {"x": (3, 5), "w": (5,)},
    ),
    "add_rms_norm": (
        "norms",
        lambda r, t: r.add_rms_norm(t["x"], t["r"], t["w"], eps=0.1),
        {"x": (3, 5), "r": (3, 5), "w": (5,)},
    ),
    "layer_norm": (
        "norms",
        lambda r, t: r.layer_norm(t["x"], t["w"], t["b"], eps=0.1),
        {"x": (3, 5), "w": (5,), "b": (5,)},
    ),
    "rope": (
        "rope",
        lambda r, t: r.rope(t["q"], t["k"], t["c"], t["s"]),
        {"q": (2, 4, 3, 6), "k": (2, 2, 3, 6), "c": (1, 3, 6), "s": (1, 3, 6)},
    ),
    "swiglu": ("gated", lambda r, t: r.swiglu(t["g"], t["u"]), {"g": (3, 5), "u": (3, 5)}),
    "geglu": ("gated", lambda r, t: r.geglu(t["g"], t["u"]), {"g": (3, 5), "u": (3, 5)}),
    "geglu_tanh": (
        "gated",
        lambda r, t: r.geglu(t["g"], t["u"], approximate="tanh"),
        {"g": (3, 5), "u": (3, 5)},
    ),
    "cross_entropy": (
        "cross_entropy",
        lambda r, t: r.cross_entropy(t["z"], LABELS, **OPTIONS),
        {"z": (4, 5)},
    ),
    "fused_linear_cross_entropy": (
        "linear_cross_entropy",
        lambda r, t: r.fused_linear_cross_entropy(t["h"], t["w"], LABELS, bias=t["b"], **OPTIONS),
        {"h": (4, 3), "w": (5, 3), "b": (5,)},
    ),
    "lora_linear": (
        "lora",
        lambda r, t: r.lora_linear(t["x"], WEIGHT["w"], t["a"], t["b"], scaling=0.5),
        ADAPTER,
    ),
    "lora_qkv": ("lora", lambda r, t: r.lora_qkv(t["x"], *[_adapted(t | WEIGHT)] * 3), ADAPTER),
    "lora_mlp": ("lora", lambda r, t: r.lora_mlp(t["x"], *[_adapted(t | WEIGHT)] * 3), ADAPTER),
    "packed_attention": (
        "packed_attention",
        lambda r, t: r.packed_attention(t["q"], t["k"], t["v"], STARTS),
        {"q": (5, 4, 3), "k": (5, 2, 3), "v": (5, 2, 3)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_the_derivatives(case):
    """Autograd's gradient of every reference equals finite differences in float64."""
    folder, call, shapes = CASES[case]
    torch.manual_seed(0)
    names = tuple(shapes)
    inputs = tuple(_randn(*s).requires_grad_() for s in shapes.values())
    assert gradcheck(lambda *xs: call(_reference(folder), dict(zip(names, xs, strict=True))), inputs)


def _annotated(module):
    """The public functions of a reference, with their annotations made real and checked at every call."""
    # jaxtyping is imported by the package for type checkers only; here its names are real
    names = {n: getattr(jaxtyping, n) for n in ("Float", "Int")} | {
        "Tensor": torch.Tensor,
        "LoraWeights": LoraWeights,
    }
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ != module.__name__ or name.startswith("_"):
            continue
        function.__annotations__ = typing.get_type_hints(
            function, {**vars(module), **names}, include_extras=True
        )
        yield name, jaxtyping.jaxtyped(typechecker=beartype)(function)


@pytest.fixture
def checked(monkeypatch):
    """Loads a reference afresh with checked annotations."""

    def load(folder):
        source = _reference(folder)
        module = importlib.util.module_from_spec(source.__spec__)
        source.__spec__.loader.exec_module(module)
        for name, function in _annotated(module):
            monkeypatch.setattr(module, name, function)
        return module

    return load


@pytest.mark.parametrize("case", CASES)
def test_shapes_are_as_annotated(case, checked):
    """Every reference takes and returns the shapes it announces."""
    folder, call, shapes = CASES[case]
    call(checked(folder), {n: _randn(*s) for n, s in shapes.items()})


@pytest.mark.parametrize("case", [c for c in CASES if c not in ("lora_qkv", "lora_mlp")])
def test_a_wrong_shape_is_refused(case, checked):
    """With annotations checked, one operand with a dimension too many is refused."""
    folder, call, shapes = CASES[case]
    module = checked(folder)
    name = list(shapes)[-1]
    wrong = {n: _randn(*s) for n, s in shapes.items()}
    wrong[name] = _randn(*shapes[name], 2)
    with pytest.raises(jaxtyping.TypeCheckError):
        call(module, wrong)
