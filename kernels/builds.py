"""The Triton kernels at real sizes: what ahead-of-time compilation compiles. Needs no Triton to import."""

from __future__ import annotations

import dataclasses
import itertools
from functools import partial
from typing import TYPE_CHECKING

from .tiling import Tile, heads, row_parts, whole_row

if TYPE_CHECKING:
    from collections.abc import Iterator

DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
HIDDEN = (1024, 2048, 4096, 8192)
VOCABULARY = (32000, 50257, 128256, 262144)
HEAD_DIM = (64, 128)
ACTIVATIONS = {"silu": 0, "gelu": 1, "gelu_tanh": 2}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One specialisation of one Triton kernel, as its launcher would ask for it.

    Attributes:
        folder: Folder of the kernel.
        function: Name of the `triton.jit` function in the folder's `triton_backend`.
        serves: Public kernels that launch it.
        backward: Whether it belongs to a backward pass.
        dtype: Element type by torch's name.
        size: The real size, for people.
        arguments: A code an argument that is not a constant: `e` pointer to elements, `f` to float32, `l` to
            int64, `I` an int that is a multiple of 16, `i` an int, `1` an int that is 1, `s` a float.
        constants: The `constexpr` arguments.
        tile: Block and warps.
    """

    folder: str
    function: str
    serves: tuple[str, ...]
    backward: bool
    dtype: str
    size: str
    arguments: str
    constants: dict[str, int | bool]
    tile: Tile

    @property
    def label(self) -> str:
        """Kernel, dtype, size and constants in one line."""
        constants = ", ".join(f"{k}={v}" for k, v in self.constants.items() if not k.startswith("BLOCK"))
        return f"{self.function} {self.dtype} {self.size} [{constants}]"


def _norms() -> Iterator[Build]:
    for hidden, dtype in itertools.product(HIDDEN, DTYPES):
        tile = whole_row("norm", hidden)
        norm = partial(Build, folder="norms", dtype=dtype, size=f"H={hidden}", tile=tile)
        for add in (False, True):
            serves = ("add_rms_norm",) if add else ("rms_norm",)
            yield norm(
                function="rms_norm_forward_kernel", serves=serves, backward=False,
                arguments="e e e e e f I I I s s", constants={"ADD": add, "BLOCK": tile.block},
            )  # fmt: skip
            for weight in (False, True):
                yield norm(
                    function="rms_norm_backward_kernel", serves=serves, backward=True,
                    arguments="e e e f e e f I I I i I s",
                    constants={"ADD": add, "WEIGHT": weight, "BLOCK": tile.block},
                )  # fmt: skip
        for flag in (False, True):
            yield norm(
                function="layer_norm_forward_kernel", serves=("layer_norm",), backward=False,
                arguments="e e e e f f I I s", constants={"BIAS": flag, "BLOCK": tile.block},
            )  # fmt: skip
            yield norm(
                function="layer_norm_backward_kernel", serves=("layer_norm",), backward=True,
                arguments="e e e f f e f f I I i I", constants={"PARAMETERS": flag, "BLOCK": tile.block},
            )  # fmt: skip


def _rope() -> Iterator[Build]:
    strides = "I I I 1"
    for dim, dtype, inverse, (q_heads, k_heads) in itertools.product(
        HEAD_DIM, DTYPES, (False, True), ((32, 8), (64, 64))
    ):
        q_at_once, tile = heads(q_heads, dim // 2)
        k_at_once, _ = heads(k_heads, dim // 2)
        yield Build(
            folder="rope", function="rope_kernel", serves=("rope",), backward=inverse, dtype=dtype,
            size=f"D={dim} N={q_heads} K={k_heads}", tile=tile,
            arguments=f"e e e e e e I I I i {strides} {strides} {strides} {strides} I I I I",
            constants={
                "INVERSE": inverse, "Q_HEADS": q_at_once, "K_HEADS": k_at_once, "BLOCK": tile.block
            },
        )  # fmt: skip


def _gated() -> Iterator[Build]:
    tile = row_parts(14336, 2048)
    for (name, code), dtype in itertools.product(ACTIVATIONS.items(), DTYPES):
        public = "swiglu" if name == "silu" else "geglu"
        gated = partial(Build, folder="gated", dtype=dtype, size=f"F>={tile.block}", tile=tile)
        constants = {"ACTIVATION": code, "BLOCK": tile.block}
        yield gated(
            function="gated_forward_kernel", serves=(public, "lora_mlp"), backward=False,
            arguments="e e e I I I", constants=constants,
        )  # fmt: skip
        for product in (False, True):
            yield gated(
                function="gated_backward_kernel", serves=("lora_mlp" if product else public,),
                backward=True, arguments="e e e I I I I", constants={"PRODUCT": product, **constants},
            )  # fmt: skip


def _cross_entropy() -> Iterator[Build]:
    serves = ("cross_entropy", "fused_linear_cross_entropy")
    for vocabulary, dtype, softcap in itertools.product(VOCABULARY, DTYPES, (False, True)):
        tile = row_parts(vocabulary)
        width = "i" if vocabulary % 16 else "I"
        loss = partial(
            Build, folder="cross_entropy", dtype=dtype, size=f"V={vocabulary}", tile=tile, serves=serves
        )
        for smoothing in (False, True):
            yield loss(
                function="cross_entropy_forward_kernel", backward=False,
                arguments=f"e l f f {width} {width} i s s s s",
                constants={"SOFTCAP": softcap, "SMOOTHING": smoothing, "BLOCK": tile.block},
            )  # fmt: skip
        yield loss(
            function="cross_entropy_backward_kernel", backward=True,
            arguments=f"f e l f {width} {width} i s s s s",
            constants={"SOFTCAP": softcap, "BLOCK": tile.block},
        )  # fmt: skip


def _dropout() -> Iterator[Build]:
    for dtype, backward in itertools.product(DTYPES, (False, True)):
        yield Build(
            folder="lora", function="dropout_kernel", serves=("lora_linear", "lora_qkv", "lora_mlp"),
            backward=backward, dtype=dtype, size="any", arguments="e e i I s s", constants={"BLOCK": 1024},
            tile=Tile(block=1024, num_warps=4),
        )  # fmt: skip


def all_builds() -> tuple[Build, ...]:
    """Every kernel, forward and backward, at every real size and dtype."""
    return (*_norms(), *_rope(), *_gated(), *_cross_entropy(), *_dropout())


def sample_builds() -> tuple[Build, ...]:
    """The largest size of every kernel and pass, in bfloat16: a subset for a quick check."""
    last: dict[tuple[str, bool, tuple[str, ...]], Build] = {}
    for build in all_builds():
        if build.dtype == "bfloat16":
            last[build.function, build.backward, build.serves] = build
    return tuple(last.values())
