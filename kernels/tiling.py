"""Block sizes of the Triton kernels, shared by the launchers and by ahead-of-time compilation. No Triton here."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_ROW = 1 << 15
TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One program's share: `block` elements of a row, worked on by `num_warps` warps."""

    block: int
    num_warps: int

    @property
    def options(self) -> dict[str, int | bool]:
        """Keywords of a launch; fused multiply-adds are stated because the default differs between releases."""
        return {"num_warps": self.num_warps, "enable_fp_fusion": True}


def _power_of_2(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()


def whole_row(kernel: str, size: int) -> Tile:
    """A row in one block, 8 elements a thread: with 16, ptxas spills a register pair in a few of the builds.

    Raises:
        ValueError: The row is longer than a program can hold in registers.
    """
    if size > LARGEST_ROW:
        raise ValueError(f"{kernel}: rows of {size} elements; the Triton kernel takes at most {LARGEST_ROW}")
    block = _power_of_2(size)
    # Beyond 8 elements a thread, 32 warps would leave 64 registers a thread; 16 warps leave 128.
    return Tile(block=block, num_warps=max(1, block // 256) if block <= 8192 else 16)


def row_parts(size: int, largest: int = 4096) -> Tile:
    """A row in parts of at most `largest` elements, 16 elements a thread."""
    block = min(largest, max(16, _power_of_2(size)))
    return Tile(block=block, num_warps=min(8, max(1, block // 512)))


def heads(count: int, half: int) -> tuple[int, Tile]:
    """Heads a program rotates at once, and the tile over half the head dimension."""
    block = _power_of_2(half)
    at_once = min(_power_of_2(count), max(1, 2048 // block))
    return at_once, Tile(block=block, num_warps=4 if at_once * block >= 512 else 1)


def programs(rows: int, device: torch.device) -> int:
    """Programs over which a reduction along rows is spread: two a multiprocessor, no more than rows."""
    if device.type != "cuda":
        return max(1, min(rows, 4))
    return max(1, min(rows, 2 * torch.cuda.get_device_properties(device).multi_processor_count))


def check_dtypes(kernel: str, *tensors: Tensor | None) -> None:
    """Raise ValueError for a dtype that the Triton kernels, which compute in float32, would narrow."""
    for x in tensors:
        if x is not None and x.dtype not in TRITON_DTYPES:
            raise ValueError(
                f"{kernel}: the Triton kernel takes float32, bfloat16 and float16, got {x.dtype};"
                " use_backend('torch') takes float64"
            )


def rows_dense(x_TH: Tensor) -> Tensor:
    """`x` itself where the elements of a row are adjacent, else a contiguous copy."""
    return x_TH if x_TH.stride(-1) == 1 or x_TH.shape[-1] == 1 else x_TH.contiguous()
