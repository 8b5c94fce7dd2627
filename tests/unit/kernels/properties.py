"""What every implementation must satisfy: strategies for calls, the tolerance, the comparison.

Sizes are drawn from 1, primes, powers of two and their neighbours; layouts from dense, transposed and strided.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

_spec = importlib.util.spec_from_file_location(
    "stepaudit_kernel_worker", Path(__file__).with_name("worker.py")
)
worker = sys.modules.get(_spec.name)
if worker is None:
    worker = importlib.util.module_from_spec(_spec)
    sys.modules[_spec.name] = worker
    _spec.loader.exec_module(worker)
Request, Result, execute = worker.Request, worker.Result, worker.execute

FOLDERS = {
    "rms_norm": "norms",
    "add_rms_norm": "norms",
    "layer_norm": "norms",
    "rope": "rope",
    "swiglu": "gated",
    "geglu": "gated",
    "cross_entropy": "cross_entropy",
    "fused_linear_cross_entropy": "linear_cross_entropy",
    "lora_linear": "lora",
    "lora_qkv": "lora",
    "lora_mlp": "lora",
    "packed_attention": "packed_attention",
}
TRITON_KERNELS = tuple(k for k in FOLDERS if k != "packed_attention")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)

rows = st.sampled_from([0, 1, 2, 3, 5, 8, 13])
widths = st.sampled_from([1, 2, 3, 7, 16, 31, 32, 33, 64, 127, 129, 257])
layouts = st.sampled_from(["dense", "transposed", "strided"])
seeds = st.integers(0, 2**16)


def _make(generator: torch.Generator, *shape: int, scale: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64) * scale


def lay_out(x: Tensor, layout: str) -> Tensor:
    """The same values at other strides."""
    if layout == "transposed" and x.dim() >= 2:
        return x.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "strided" and x.dim() >= 1:
        wide = x.new_zeros(*x.shape[:-1], 2 * x.shape[-1] + 1)
        wide[..., 1::2] = x
        return wide[..., 1::2]
    return x.contiguous()


@st.composite
def norm_calls(draw: Any, kernel: str) -> Request:
    g = torch.Generator().manual_seed(draw(seeds))
    t, h = draw(rows), draw(widths)
    tensors: dict[str, Tensor | None] = {"x": _make(g, t, h), "weight": _make(g, h)}
    options: dict[str, Any] = {"eps": draw(st.sampled_from([1e-6, 1e-2]))}
    if kernel == "layer_norm":
        tensors["bias"] = _make(g, h) if draw(st.booleans()) else None
        options["eps"] = 1e-2  # rows of one element have no variance: eps alone keeps them finite
    else:
        options["offset"] = draw(st.sampled_from([0.0, 1.0]))
    if kernel == "add_rms_norm":
        tensors["residual"] = _make(g, t, h)
    return _request(draw, kernel, tensors, options)


@st.composite
def rope_calls(draw: Any) -> Request:
    g = torch.Generator().manual_seed(draw(seeds))
    batch, length = draw(st.sampled_from([1, 2])), draw(st.sampled_from([0, 1, 3, 8]))
    keys, groups = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 2, 5]))
    dim = 2 * draw(st.sampled_from([1, 3, 8, 17, 32]))
    shared = draw(st.booleans())
    tables = {n: _make(g, 1 if shared else batch, length, dim) for n in ("cos", "sin")}
    tensors = {"q": _make(g, batch, keys * groups, length, dim), "k": _make(g, batch, keys, length, dim)}
    return _request(draw, "rope", {**tensors, **tables}, {}, frozen=("cos", "sin"))


@st.composite
def gated_calls(draw: Any, kernel: str) -> Request:
    g = torch.Generator().manual_seed(draw(seeds))
    shape = (draw(rows), draw(widths))
    options = {"approximate": draw(st.sampled_from(["none", "tanh"]))} if kernel == "geglu" else {}
    return _request(draw, kernel, {"gate": _make(g, *shape, scale=3), "up": _make(g, *shape)}, options)


@st.composite
def loss_calls(draw: Any, kernel: str, vocabularies: Any = None) -> Request:
    g = torch.Generator().manual_seed(draw(seeds))
    t = draw(rows)
    v = draw(widths if vocabularies is None else vocabularies)
    labels = torch.randint(0, v, (t,), generator=g)
    which = draw(st.sampled_from(["some", "none", "all"]))
    if which != "none":
        labels[torch.rand(t, generator=g) < (0.4 if which == "some" else 2)] = -100
    plain = draw(st.booleans())
    options: dict[str, Any] = {"num_items_in_batch": draw(st.sampled_from([None, 7, torch.tensor(5)]))}
    if not plain:
        options |= {
            "softcap": draw(st.sampled_from([0.0, 4.0])),
            "logit_scale": draw(st.sampled_from([1.0, 0.5])),
            "label_smoothing": draw(st.sampled_from([0.0, 0.1])),
            "z_loss": draw(st.sampled_from([0.0, 0.01])),
        }
    tensors: dict[str, Tensor | None]
    if kernel == "cross_entropy":
        tensors = {"logits": _make(g, t, v, scale=4)}
    else:
        h = draw(st.sampled_from([1, 3, 16, 17]))
        tensors = {"hidden": _make(g, t, h), "weight": _make(g, v, h)}
        tensors["bias"] = _make(g, v) if draw(st.booleans()) else None
        options["chunk_tokens"] = draw(st.sampled_from([None, 1, 3]))
    return _request(draw, kernel, {**tensors, "labels": labels}, options, frozen=("labels",))


@st.composite
def lora_calls(draw: Any, kernel: str) -> Request:
    g = torch.Generator().manual_seed(draw(seeds))
    t, i, r = draw(rows), draw(st.sampled_from([1, 5, 16, 17])), draw(st.sampled_from([1, 3, 8]))
    o = draw(st.sampled_from([1, 7, 16]))

    def adapter(prefix: str, inputs: int, outputs: int) -> dict[str, Tensor | None]:
        return {
            f"{prefix}weight": _make(g, outputs, inputs, scale=0.5),
            f"{prefix}lora_a": _make(g, r, inputs, scale=0.5),
            f"{prefix}lora_b": _make(g, outputs, r, scale=0.5),
            f"{prefix}bias": _make(g, outputs) if draw(st.booleans()) else None,
        }

    tensors: dict[str, Tensor | None] = {"x": _make(g, t, i)}
    options: dict[str, Any] = {}
    if kernel == "lora_linear":
        tensors |= adapter("", i, o)
        options["scaling"] = 0.5
    elif kernel == "lora_qkv":
        for name in "qkv":
            tensors |= adapter(f"{name}.", i, o)
    else:
        tensors |= adapter("gate.", i, o) | adapter("up.", i, o) | adapter("down.", o, i)
        options["activation"] = draw(st.sampled_from(["silu", "gelu", "gelu_tanh"]))
    frozen = tuple(n for n in tensors if n.rpartition(".")[2] in ("weight", "bias"))
    return _request(draw, kernel, tensors, options, frozen=frozen)


@st.composite
def attention_calls(draw: Any) -> Request:
    g = torch.Generator().manual_seed(draw(seeds))
    lengths = draw(st.lists(st.sampled_from([0, 1, 2, 5, 9]), max_size=4))
    keys, groups, dim = (
        draw(st.sampled_from([1, 2])),
        draw(st.sampled_from([1, 3])),
        draw(st.sampled_from([1, 8, 16])),
    )
    t = sum(lengths)
    starts = torch.tensor([0, *lengths]).cumsum(0)
    tensors = {"q": _make(g, t, keys * groups, dim), "k": _make(g, t, keys, dim), "v": _make(g, t, keys, dim)}
    options = {"scale": draw(st.sampled_from([None, 0.3]))}
    return _request(
        draw, "packed_attention", {**tensors, "cu_seqlens": starts}, options, frozen=("cu_seqlens",)
    )


def _request(
    draw: Any,
    kernel: str,
    tensors: dict[str, Tensor | None],
    options: dict[str, Any],
    frozen: tuple[str, ...] = (),
) -> Request:
    dtype = draw(st.sampled_from(DTYPES))
    cast = {
        n: lay_out(x.to(dtype), draw(layouts)) if x is not None and x.is_floating_point() else x
        for n, x in tensors.items()
    }
    differentiable = tuple(n for n, x in cast.items() if n not in frozen and x is not None)
    return Request(
        kernel=kernel, tensors=cast, differentiable=differentiable, options=options, seed=draw(seeds)
    )


def calls(kernel: str) -> st.SearchStrategy[Request]:
    """Calls of `kernel`."""
    folder = FOLDERS[kernel]
    if folder == "norms":
        return norm_calls(kernel)
    if folder == "gated":
        return gated_calls(kernel)
    if folder == "lora":
        return lora_calls(kernel)
    if folder in ("cross_entropy", "linear_cross_entropy"):
        return loss_calls(kernel)
    return rope_calls() if kernel == "rope" else attention_calls()


# A kernel is accepted if its result is that of the formula for inputs which differ from the given ones by a few
# units in the last place, rounded a few times: backward stability. How far such inputs move the result is
# measured (three random perturbations by one unit, in float64) and not guessed; FACTOR is the count of
# roundings to the working dtype on the longest path (the adapted MLP's backward pass: 12), rounded up.
FACTOR = 16


def reference(request: Request, mutate: Any = None, nudge: torch.Generator | None = None) -> Result:
    """The float64 reference, on inputs nudged by one unit in the last place if asked."""
    module = importlib.import_module(f"stepaudit.kernels.{FOLDERS[request.kernel]}.reference")
    dtype = next(x.dtype for x in request.tensors.values() if x is not None and x.is_floating_point())

    def wide(x: Tensor | None) -> Tensor | None:
        if x is None or not x.is_floating_point():
            return x if x is None else x.cpu()
        x = x.detach().cpu().double().contiguous()
        if nudge is not None:
            sign = torch.rand(x.shape, generator=nudge, dtype=torch.float64) * 2 - 1
            x = x * (1 + torch.finfo(dtype).eps * sign)
        return x.clone()

    copy = dataclasses.replace(request, tensors={n: wide(x) for n, x in request.tensors.items()})
    return execute(copy, mutate or module)


def cancelling_terms(request: Request) -> float:
    """Size of float32 terms that cancel inside a backward pass, which no nudged input shows.

    Norms: the gradient of x is `rstd·(g·w − mean(..) − ..)`; for rows of one or two elements it is 0 though its
    terms are not. Losses: `p − [label]` is 0 in a vocabulary of one.
    """
    t = {n: x.detach().cpu().double() for n, x in request.tensors.items() if x is not None and x.numel()}
    largest_grad = 4.0  # of 10⁴ normal variates
    if FOLDERS[request.kernel] == "norms" and "x" in t:
        x = t["x"] + t.get("residual", 0.0)
        centred = x - x.mean(-1, keepdim=True) if request.kernel == "layer_norm" else x
        rstd = (centred.square().mean(-1) + request.options["eps"]).rsqrt().max()
        return float(rstd * (t["weight"].abs().max() + request.options.get("offset", 0.0)) * largest_grad)
    if request.kernel == "cross_entropy":
        return 2 * largest_grad
    if request.kernel == "fused_linear_cross_entropy" and "hidden" in t:
        h = t["hidden"].abs()
        return float(2 * largest_grad * max(1.0, t["weight"].abs().max(), h.sum(0).max()))
    return 0.0


def compare(request: Request, run: Any, mutate: Any = None) -> None:
    """Assert that `run(request)` agrees with the float64 reference (or with a mutated one, which must fail)."""
    want = reference(request, mutate)
    nudged = [reference(request, mutate, torch.Generator().manual_seed(i)) for i in range(3)]
    dtype = next(x.dtype for x in request.tensors.values() if x is not None and x.is_floating_point())
    eps, terms = torch.finfo(dtype).eps, cancelling_terms(request)
    got = run(request)
    assert len(got.outputs) == len(want.outputs)
    assert got.grads.keys() == want.grads.keys()
    triples = [
        (f"output {i}", got.outputs[i], want.outputs[i], [n.outputs[i] for n in nudged])
        for i in range(len(want.outputs))
    ] + [(f"gradient of {n}", got.grads[n], w, [x.grads[n] for x in nudged]) for n, w in want.grads.items()]
    for name, mine, exact, moved in triples:
        assert mine is not None, name
        assert mine.shape == exact.shape, name
        if not exact.numel():
            continue
        difference = (mine.detach().cpu().double() - exact).abs().max()
        sensitivity = max((m - exact).abs().max() for m in moved)
        cancelled = torch.finfo(torch.float32).eps * terms if name.startswith("gradient") else 0.0
        # below the smallest normal number of the dtype nothing can be resolved
        tolerance = FACTOR * (sensitivity + eps * exact.abs().max() + cancelled + torch.finfo(dtype).tiny)
        assert difference <= tolerance, (
            f"{request.kernel} {dtype}: {name} is off by {difference:.3g}, allowed {tolerance:.3g}"
        )
