"""Dropout whose mask is a function of a seed, in torch: same functions as `triton_backend`."""

from __future__ import annotations

import torch
from torch import Tensor


def seeded_dropout(x: Tensor, dropout_p: float, seed: int) -> Tensor:
    """`x · mask / (1 − p)`; the mask depends on shape, p and seed only."""
    generator = torch.Generator(x.device).manual_seed(seed)
    mask = torch.empty(x.shape, dtype=x.dtype, device=x.device).bernoulli_(1 - dropout_p, generator=generator)
    return mask.mul_(x).mul_(1 / (1 - dropout_p))
