"""The public kernels in one place: where they live, what they take, what they move, what is compiled for them."""

from __future__ import annotations

import dataclasses

from .builds import DTYPES, Build, all_builds
from .traffic import TRAFFIC, Traffic


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KernelEntry:
    """One public kernel.

    Attributes:
        name: Function of `stepaudit.kernels`.
        folder: Folder with reference, Triton, torch and the op.
        products: Who does its matrix products, or the whole work, if not Triton.
        dtypes: Element types of the Triton path; the torch path takes float64 too.
        traffic: Bytes as functions of the shape.
    """

    name: str
    folder: str
    products: str
    dtypes: tuple[str, ...]
    traffic: Traffic

    @property
    def builds(self) -> tuple[Build, ...]:
        """The Triton specialisations that it launches at real sizes."""
        return tuple(b for b in all_builds() if self.name in b.serves)


_FOLDERS = {
    "rms_norm": ("norms", ""),
    "add_rms_norm": ("norms", ""),
    "layer_norm": ("norms", ""),
    "rope": ("rope", ""),
    "swiglu": ("gated", ""),
    "geglu": ("gated", ""),
    "cross_entropy": ("cross_entropy", ""),
    "fused_linear_cross_entropy": ("linear_cross_entropy", "torch.mm"),
    "lora_linear": ("lora", "torch.mm"),
    "lora_qkv": ("lora", "torch.mm"),
    "lora_mlp": ("lora", "torch.mm"),
    "packed_attention": ("packed_attention", "torch scaled_dot_product_attention / varlen_attn"),
}

CATALOGUE: tuple[KernelEntry, ...] = tuple(
    KernelEntry(name=name, folder=folder, products=products, dtypes=tuple(DTYPES), traffic=TRAFFIC[name])
    for name, (folder, products) in _FOLDERS.items()
)
