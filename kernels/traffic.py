"""Bytes that a kernel moves, as closed forms of the shape: the least any kernel must, and what ours does.

Shape suffixes: T tokens, H hidden, F intermediate, V vocabulary, N query heads, K key heads, D head dimension,
R rank, E bytes an element. Minimal: every input is read once and every output written once. Actual: the same
for each launch, matrix products counted as reading each operand once.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of one call; the defaults are a Llama-3-8B layer over 4,096 tokens in bfloat16."""

    tokens: int = 4096
    hidden: int = 4096
    inner: int = 14336
    vocabulary: int = 128256
    q_heads: int = 32
    k_heads: int = 8
    head_dim: int = 128
    rank: int = 16
    element: int = 2
    programs: int = 264  # two on each of an H100's 132 multiprocessors
    chunk: int = 2048


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bytes forward and backward, minimal and actual."""

    forward_minimal: Callable[[Sizes], int]
    forward_actual: Callable[[Sizes], int]
    backward_minimal: Callable[[Sizes], int]
    backward_actual: Callable[[Sizes], int]

    def minimal(self, s: Sizes) -> int:
        """Least bytes, both passes."""
        return self.forward_minimal(s) + self.backward_minimal(s)

    def actual(self, s: Sizes) -> int:
        """Bytes of ours, both passes."""
        return self.forward_actual(s) + self.backward_actual(s)


def _th(s: Sizes) -> int:
    return s.tokens * s.hidden * s.element


def _rotated(s: Sizes) -> int:
    heads = s.q_heads + s.k_heads
    return (2 * heads + 2) * s.tokens * s.head_dim * s.element


def _adapted_forward(s: Sizes, i: int, o: int, *, minimal: bool) -> int:
    """One adapted projection: x, W, A, B in, y out; ours reads x for A too, and adds onto y."""
    parameters = (o * i + s.rank * (i + o)) * s.element
    least = s.tokens * (i + o) * s.element + parameters
    return least if minimal else least + s.tokens * (i + 2 * o + 2 * s.rank) * s.element


def _adapted_backward(s: Sizes, i: int, o: int, *, minimal: bool) -> int:
    """dy, x, W, A, B in, dx, dA, dB out; ours reads dy for dx, dB and the inner gradient, and adds onto dx."""
    parameters = (o * i + 2 * s.rank * (i + o)) * s.element
    least = s.tokens * (2 * i + o) * s.element + parameters
    return least if minimal else least + s.tokens * (2 * o + 2 * i + 4 * s.rank) * s.element


def _qkv(s: Sizes) -> list[tuple[int, int]]:
    kv = s.k_heads * s.head_dim
    return [(s.hidden, s.q_heads * s.head_dim), (s.hidden, kv), (s.hidden, kv)]


def _mlp(s: Sizes) -> list[tuple[int, int]]:
    return [(s.hidden, s.inner), (s.hidden, s.inner), (s.inner, s.hidden)]


def _mlp_minimal(s: Sizes, *, backward: bool) -> int:
    """x in, y out (dy and x in, dx out), and the parameters; a perfect kernel keeps the inner part on chip."""
    parameters = sum(o * i + s.rank * (i + o) * (2 if backward else 1) for i, o in _mlp(s))
    return (3 if backward else 2) * _th(s) + parameters * s.element


def _head_forward(s: Sizes) -> int:
    """Products read head, hidden and gradient; six passes over the chunks' logits; float32 accumulation."""
    chunks = -(-s.tokens // s.chunk)
    head = s.vocabulary * s.hidden
    logits = 6 * s.tokens * s.vocabulary * s.element
    return 2 * chunks * head * s.element + 16 * chunks * head + logits + 3 * _th(s) + 16 * s.tokens


TRAFFIC: dict[str, Traffic] = {
    "rms_norm": Traffic(
        forward_minimal=lambda s: 2 * _th(s) + s.hidden * s.element,
        forward_actual=lambda s: 2 * _th(s) + s.hidden * s.element + 4 * s.tokens,
        backward_minimal=lambda s: 3 * _th(s) + 2 * s.hidden * s.element,
        backward_actual=lambda s: (
            3 * _th(s) + 2 * s.hidden * s.element + 4 * s.tokens + 8 * s.programs * s.hidden
        ),
    ),
    "add_rms_norm": Traffic(
        forward_minimal=lambda s: 4 * _th(s) + s.hidden * s.element,
        forward_actual=lambda s: 4 * _th(s) + s.hidden * s.element + 4 * s.tokens,
        backward_minimal=lambda s: 4 * _th(s) + 2 * s.hidden * s.element,
        backward_actual=lambda s: (
            4 * _th(s) + 2 * s.hidden * s.element + 4 * s.tokens + 8 * s.programs * s.hidden
        ),
    ),
    "layer_norm": Traffic(
        forward_minimal=lambda s: 2 * _th(s) + 2 * s.hidden * s.element,
        forward_actual=lambda s: 2 * _th(s) + 2 * s.hidden * s.element + 8 * s.tokens,
        backward_minimal=lambda s: 3 * _th(s) + 3 * s.hidden * s.element,
        backward_actual=lambda s: (
            3 * _th(s) + 3 * s.hidden * s.element + 8 * s.tokens + 16 * s.programs * s.hidden
        ),
    ),
    "rope": Traffic(
        forward_minimal=_rotated,
        forward_actual=_rotated,
        backward_minimal=_rotated,
        backward_actual=_rotated,
    ),
    **dict.fromkeys(
        ("swiglu", "geglu"),
        Traffic(
            forward_minimal=lambda s: 3 * s.tokens * s.inner * s.element,
            forward_actual=lambda s: 3 * s.tokens * s.inner * s.element,
            backward_minimal=lambda s: 5 * s.tokens * s.inner * s.element,
            backward_actual=lambda s: 5 * s.tokens * s.inner * s.element,
        ),
    ),
    # A kernel that kept a row on chip would write its gradient in the forward pass and read the logits once.
    "cross_entropy": Traffic(
        forward_minimal=lambda s: s.tokens * (s.vocabulary * s.element + 8),
        forward_actual=lambda s: s.tokens * (s.vocabulary * s.element + 16),
        backward_minimal=lambda s: s.tokens * s.vocabulary * s.element,
        backward_actual=lambda s: s.tokens * (2 * s.vocabulary * s.element + 12),
    ),
    "fused_linear_cross_entropy": Traffic(
        forward_minimal=lambda s: _th(s) + s.vocabulary * s.hidden * s.element + 8 * s.tokens,
        forward_actual=_head_forward,
        backward_minimal=lambda s: _th(s) + s.vocabulary * s.hidden * s.element,
        backward_actual=lambda s: 2 * _th(s) + s.vocabulary * s.hidden * (12 + s.element),
    ),
    "lora_linear": Traffic(
        forward_minimal=lambda s: _adapted_forward(s, s.hidden, s.hidden, minimal=True),
        forward_actual=lambda s: _adapted_forward(s, s.hidden, s.hidden, minimal=False),
        backward_minimal=lambda s: _adapted_backward(s, s.hidden, s.hidden, minimal=True),
        backward_actual=lambda s: _adapted_backward(s, s.hidden, s.hidden, minimal=False),
    ),
    "lora_qkv": Traffic(
        forward_minimal=lambda s: (
            sum(_adapted_forward(s, i, o, minimal=True) for i, o in _qkv(s)) - 2 * _th(s)
        ),
        forward_actual=lambda s: sum(_adapted_forward(s, i, o, minimal=False) for i, o in _qkv(s)),
        backward_minimal=lambda s: (
            sum(_adapted_backward(s, i, o, minimal=True) for i, o in _qkv(s)) - 4 * _th(s)
        ),
        backward_actual=lambda s: sum(_adapted_backward(s, i, o, minimal=False) for i, o in _qkv(s)),
    ),
    "lora_mlp": Traffic(
        forward_minimal=lambda s: _mlp_minimal(s, backward=False),
        forward_actual=lambda s: (
            sum(_adapted_forward(s, i, o, minimal=False) for i, o in _mlp(s))
            + 3 * s.tokens * s.inner * s.element
        ),
        backward_minimal=lambda s: _mlp_minimal(s, backward=True),
        backward_actual=lambda s: (
            sum(_adapted_backward(s, i, o, minimal=False) for i, o in _mlp(s))
            + 6 * s.tokens * s.inner * s.element
        ),
    ),
    # The library's flash kernel: the log-sum-exp is its only extra.
    "packed_attention": Traffic(
        forward_minimal=lambda s: 2 * s.tokens * (s.q_heads + s.k_heads) * s.head_dim * s.element,
        forward_actual=lambda s: (
            2 * s.tokens * (s.q_heads + s.k_heads) * s.head_dim * s.element + 4 * s.tokens * s.q_heads
        ),
        backward_minimal=lambda s: (4 * s.q_heads + 4 * s.k_heads) * s.tokens * s.head_dim * s.element,
        backward_actual=lambda s: (
            (4 * s.q_heads + 4 * s.k_heads) * s.tokens * s.head_dim * s.element + 4 * s.tokens * s.q_heads
        ),
    ),
}
