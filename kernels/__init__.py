"""Fused training kernels for Llama-family models: reference, Triton and torch side by side.

Importing this package imports no Triton; a Triton kernel is loaded when it first runs.
"""

from .backend import (
    Backend,
    BackendUnavailableError,
    active_backend,
    set_backend,
    unavailable_reason,
    use_backend,
)
from .cross_entropy import cross_entropy
from .gated import geglu, swiglu
from .linear_cross_entropy import fused_linear_cross_entropy
from .lora import LoraWeights, lora_linear, lora_mlp, lora_qkv
from .norms import add_rms_norm, layer_norm, rms_norm
from .packed_attention import packed_attention
from .rope import rope

__all__ = [
    "Backend",
    "BackendUnavailableError",
    "LoraWeights",
    "active_backend",
    "add_rms_norm",
    "cross_entropy",
    "fused_linear_cross_entropy",
    "geglu",
    "layer_norm",
    "lora_linear",
    "lora_mlp",
    "lora_qkv",
    "packed_attention",
    "rms_norm",
    "rope",
    "set_backend",
    "swiglu",
    "unavailable_reason",
    "use_backend",
]
