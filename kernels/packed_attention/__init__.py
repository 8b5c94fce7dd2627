"""Causal attention over packed sequences, through torch's own kernels."""

from .attention import packed_attention

__all__ = ["packed_attention"]
