"""Row normalisation: RMS norm, residual add + RMS norm, layer norm."""

from .op import add_rms_norm, layer_norm, rms_norm

__all__ = ["add_rms_norm", "layer_norm", "rms_norm"]
