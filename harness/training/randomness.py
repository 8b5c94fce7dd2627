"""The state of every random number generator that training may draw from, as tensors and plain values."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomState:
    """A snapshot.

    Attributes:
        tensors: Torch's generators by device, uint8.
        values: Python's and numpy's (the legacy global one), fit for JSON.
    """

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    @classmethod
    def capture(cls) -> RandomState:
        """Take a snapshot of this process."""
        tensors = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            for at, state in enumerate(torch.cuda.get_rng_state_all()):
                tensors[f"cuda:{at}"] = state
        version, words, gauss = random.getstate()
        name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
        values = {
            "python": [version, list(words), gauss],
            "numpy": [str(name), np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
        }
        return cls(tensors=tensors, values=values)

    def restore(self) -> None:
        """Put every generator back where it was."""
        torch.set_rng_state(self.tensors["cpu"])
        for name, state in self.tensors.items():
            if name != "cpu":
                torch.cuda.set_rng_state(state, device=name)
        version, words, gauss = self.values["python"]
        random.setstate((version, tuple(words), gauss))
        name, keys, position, has_gauss, cached = self.values["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
