"""Checks of arguments: messages name the kernel, the argument and the value that does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def check_same_shape(kernel: str, **tensors: Tensor) -> None:
    """Raise ValueError unless all `tensors` have the shape, dtype and device of the first."""
    (first, x), *others = tensors.items()
    for name, other in others:
        if other.shape != x.shape:
            raise ValueError(f"{kernel}: {name} has shape {list(other.shape)}, {first} has {list(x.shape)}")
        if other.dtype != x.dtype:
            raise ValueError(f"{kernel}: {name} is {other.dtype}, {first} is {x.dtype}")
        check_device(kernel, x, name, other)


def check_rows(kernel: str, x: Tensor, **vectors: Tensor | None) -> None:
    """Raise ValueError unless every vector is `[H]` where `x` is `[..., H]`, on one device."""
    if x.dim() == 0 or x.shape[-1] == 0:
        raise ValueError(f"{kernel}: x has shape {list(x.shape)}; its last dimension must not be empty")
    if not x.is_floating_point():
        raise ValueError(f"{kernel}: x is {x.dtype}; a floating dtype is needed")
    for name, vector in vectors.items():
        if vector is None:
            continue
        if vector.shape != x.shape[-1:]:
            raise ValueError(f"{kernel}: {name} has shape {list(vector.shape)}, x has {list(x.shape)}")
        check_device(kernel, x, name, vector)


def check_device(kernel: str, x: Tensor, name: str, other: Tensor) -> None:
    """Raise ValueError unless `other` is on the device of `x`."""
    if other.device != x.device:
        raise ValueError(f"{kernel}: {name} is on {other.device}, the first argument on {x.device}")
