"""Gated activations: SwiGLU and GEGLU."""

from .op import geglu, swiglu

__all__ = ["geglu", "swiglu"]
