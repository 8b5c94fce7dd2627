"""Low-rank adapters over frozen base weights: one projection, QKV, and the gated MLP."""

from .adapter import LoraWeights
from .mlp import lora_mlp
from .projection import lora_linear, lora_qkv

__all__ = ["LoraWeights", "lora_linear", "lora_mlp", "lora_qkv"]
