"""Rotary position embedding in torch: same functions as `triton_backend`.

Shape suffixes: B batch, N heads, L positions, D head dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _rotate(x_BNLD: Tensor, cos_BLD: Tensor, sin_BLD: Tensor, *, inverse: bool) -> Tensor:
    half = x_BNLD.shape[-1] // 2
    cos_B1LD, sin_B1LD = cos_BLD.unsqueeze(1), sin_BLD.unsqueeze(1)
    wide = torch.promote_types(x_BNLD.dtype, torch.float32)
    out_BNLD = torch.mul(x_BNLD, cos_B1LD.to(wide))
    first, second = x_BNLD[..., :half], x_BNLD[..., half:]
    sin_first, sin_second = sin_B1LD[..., :half].to(wide), sin_B1LD[..., half:].to(wide)
    if inverse:  # the transpose: the sine of the other half, the other sign
        out_BNLD[..., :half].addcmul_(second, sin_second)
        out_BNLD[..., half:].addcmul_(first, sin_first, value=-1)
    else:
        out_BNLD[..., :half].addcmul_(second, sin_first, value=-1)
        out_BNLD[..., half:].addcmul_(first, sin_second)
    return out_BNLD.to(x_BNLD.dtype)


def rope_rotate(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    """Rotated q and k; `inverse` applies the transpose, which is the backward pass."""
    return _rotate(q, cos, sin, inverse=inverse), _rotate(k, cos, sin, inverse=inverse)
