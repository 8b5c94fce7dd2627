"""Buffers into which the chunks of the fused head and loss write their gradients.

Shape suffixes: T tokens, C tokens of a chunk, H hidden, V vocabulary.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

# Rows of the weight gradient that one product of half-precision matrices covers, so that the product, which
# is added to the float32 buffer, stays small beside it.
_SLAB_ROWS = 1 << 14
# Since torch 2.8 a product of half-precision matrices can leave the GPU's float32 accumulator unrounded.
_FLOAT32_PRODUCTS = hasattr(torch.ops.aten.mm, "dtype")


@dataclasses.dataclass(slots=True, kw_only=True)
class Gradients:
    """Gradients of the summed loss; None where not wanted. Weight and bias are accumulated in float32."""

    hidden_TH: Tensor | None
    weight_VH: Tensor | None
    bias_V: Tensor | None

    @property
    def wanted(self) -> bool:
        """Whether any gradient is to be computed."""
        return not (self.hidden_TH is None and self.weight_VH is None and self.bias_V is None)

    def add(
        self, rows: slice | Tensor, wide_CV: Tensor, narrow_CV: Tensor, hidden_CH: Tensor, weight_VH: Tensor
    ) -> None:
        """Add one chunk.

        Args:
            rows: The tokens of the chunk.
            wide_CV: Gradient of the logits in float32.
            narrow_CV: Scratch in the dtype of the products; may be `wide_CV` itself.
            hidden_CH: Hidden states of the chunk.
            weight_VH: Head.
        """
        if self.bias_V is not None:
            self.bias_V.add_(wide_CV.sum(0))
        if narrow_CV.dtype != wide_CV.dtype:
            narrow_CV.copy_(wide_CV)
        else:
            narrow_CV = wide_CV
        if self.hidden_TH is not None:
            if isinstance(rows, slice) and self.hidden_TH.dtype == narrow_CV.dtype:
                torch.mm(narrow_CV, weight_VH, out=self.hidden_TH[rows])
            else:
                self.hidden_TH[rows] = torch.mm(narrow_CV, weight_VH).to(self.hidden_TH.dtype)
        if self.weight_VH is not None:
            accumulate_outer_(self.weight_VH, narrow_CV, hidden_CH)


def accumulate_outer_(total_VH: Tensor, grad_CV: Tensor, hidden_CH: Tensor) -> None:
    """`total += gradᵀ · hidden`, with `total` in float32 whatever the dtype of the factors."""
    if grad_CV.dtype == total_VH.dtype:
        total_VH.addmm_(grad_CV.t(), hidden_CH)
        return
    for start in range(0, total_VH.shape[0], _SLAB_ROWS):
        grad_slab = grad_CV[:, start : start + _SLAB_ROWS].t()
        if grad_CV.is_cuda and _FLOAT32_PRODUCTS:
            product = torch.mm(grad_slab, hidden_CH, out_dtype=total_VH.dtype)
        else:  # here the product of one chunk is rounded to half precision, the sum over chunks is not
            product = torch.mm(grad_slab, hidden_CH)
        total_VH[start : start + _SLAB_ROWS].add_(product)
