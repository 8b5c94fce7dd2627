"""Weights by projection: which weighting of the window's rows explains the gradient that reached the optimizer.

Just before an update every row of the window is replayed alone from the same weights, gᵢ = ∇Σ token losses of row i,
and g = Σ wᵢ·gᵢ is solved by least squares. wᵢ is the weight of one label token of row i; what no weighting explains
is the residual. The replays run on a twin of the model: hooks, gradients, buffers and modes of the subject's
model are not touched, and no random number is drawn.

Legend: R rows, P trained parameters or, with a sketch, its dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .losses import autocast_of, row_losses

__all__ = ["Projection", "Weighing"]

_LEAST_EIGENVALUE = 1e-12
"""of the Gram matrix, relative to its largest: below it (condition 1e6) two rows cannot be told apart"""
_SUSPICIOUS = 1e-3
_SUSPICIOUS_IN_AUTOCAST = 0.05
"""residual above which the rows of the window before are tried too; rounding leaves 5e-7, and 1e-2 in bfloat16"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weighing:
    """The books of one update.

    Attributes:
        weights: row id to the weight of one of its label tokens; None where they cannot be told.
        residual: |g - Σ wᵢ·gᵢ| / |g|; None where nothing was solved (not sampled, or rows that cannot be told
            apart), NaN where the gradient is not finite.
    """

    weights: dict[int, float] | None
    residual: float | None


class Projection:
    """Weighs the rows in gradients of one model.

    Args:
        twin: the same architecture in a precision of its own, with nothing attached to it.
        row_of: gives the tensors of a row, each `[1, length]`.
        autocast: dtype that the forward of a replay is cast to, None for none.
        every: weigh every such update only, for models where a replay is dear.
        dims: dimensions of a seeded random sketch of the gradients; None compares them whole. A gradient that
            is a weighting of rows is one in the sketch too, with the same weights.
    """

    def __init__(
        self,
        twin: nn.Module,
        row_of: Callable[[int], Mapping[str, Tensor]],
        *,
        autocast: torch.dtype | None = None,
        every: int = 1,
        dims: int | None = None,
    ) -> None:
        self._twin = twin.eval()
        self._row_of = row_of
        self._autocast = autocast
        self._suspicious = _SUSPICIOUS if autocast is None else _SUSPICIOUS_IN_AUTOCAST
        self._every = every
        self._sketch = _Sketch(dims) if dims else None
        self._asked = 0
        self._before: tuple[Sequence[int], Tensor] | None = None

    def weigh(self, model: nn.Module, rows: Sequence[int]) -> Weighing:
        """Weigh the rows of a window in the gradient that `model` holds now.

        Args:
            model: the subject's model, after its backwards and before its update.
            rows: ids of the window's rows, repeated or not.
        """
        self._asked += 1
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        if (self._asked - 1) % self._every or not self._take_over(model):
            return Weighing(weights=None, residual=None)
        g_P = self._gradient(model, names)
        norm = float(g_P.norm())
        if not math.isfinite(norm):
            return Weighing(weights=None, residual=math.nan)
        ids = [row for row in dict.fromkeys(rows) if bool((self._row_of(row)["labels"][:, 1:] != -100).any())]
        rows_RP = self._alone(ids, names)
        before, self._before = self._before, (ids, rows_RP)
        if norm == 0.0:
            return Weighing(weights={}, residual=0.0)
        solved = _solve(rows_RP, g_P)
        residual = 1.0 if solved is None else _residual(solved, rows_RP, g_P)
        if before is not None and before[1].shape[1] == rows_RP.shape[1] and residual > self._suspicious:
            both_RP = torch.cat([rows_RP, before[1]])
            wider = _solve(both_RP, g_P)
            if wider is not None and _residual(wider, both_RP, g_P) < residual / 10:
                return Weighing(
                    weights=_by_row([*ids, *before[0]], wider), residual=_residual(wider, both_RP, g_P)
                )
        if solved is None:
            return Weighing(weights=None, residual=None) if ids else Weighing(weights={}, residual=1.0)
        return Weighing(weights=_by_row(ids, solved), residual=residual)

    def _take_over(self, model: nn.Module) -> bool:
        """Give the twin the model's parameters; False where the trainer has rebuilt the model."""
        theirs, ours = dict(model.named_parameters()), dict(self._twin.named_parameters())
        if {name: parameter.shape for name, parameter in theirs.items()} != {
            name: parameter.shape for name, parameter in ours.items()
        }:
            return False
        with torch.no_grad():
            for name, parameter in theirs.items():
                ours[name].copy_(parameter)
        return True

    def _gradient(self, model: nn.Module, names: Sequence[str]) -> Tensor:
        parameters = dict(model.named_parameters())
        parts = []
        for name in names:
            gradient = parameters[name].grad
            parts.append(torch.zeros_like(parameters[name]) if gradient is None else gradient.detach())
        return self._flat(parts)

    def _alone(self, ids: Sequence[int], names: Sequence[str]) -> Tensor:
        parameters = [dict(self._twin.named_parameters())[name] for name in names]
        for parameter in parameters:
            parameter.requires_grad_(True)  # noqa: FBT003  it takes no keyword
        gradients = []
        with torch.enable_grad():
            for row in ids:
                with autocast_of(self._autocast, parameters[0].device):
                    loss = row_losses(self._twin, self._row_of(row)).sum()
                gradients.append(self._flat(torch.autograd.grad(loss, parameters, materialize_grads=True)))
        return torch.stack(gradients) if gradients else self._flat(parameters)[None, :][:0]

    def _flat(self, parts: Sequence[Tensor]) -> Tensor:
        flat = torch.cat([part.detach().double().flatten() for part in parts])
        return flat if self._sketch is None else self._sketch(flat)


class _Sketch:
    """A count sketch: every parameter is added, with a random sign, to one of `dims` sums.

    Linear, drawn once from a generator of its own (Charikar, Chen, Farach-Colton 2002).
    """

    def __init__(self, dims: int) -> None:
        self._dims = dims
        self._drawn: dict[int, tuple[Tensor, Tensor]] = {}
        """places and signs, by the length of what was sketched last"""

    def __call__(self, flat: Tensor) -> Tensor:
        if len(flat) not in self._drawn:
            generator = torch.Generator().manual_seed(0)
            places = torch.randint(self._dims, (len(flat),), generator=generator)
            are_added = torch.randint(2, (len(flat),), generator=generator).bool()
            self._drawn = {len(flat): (places.to(flat.device), are_added.to(flat.device))}
        places, are_added = self._drawn[len(flat)]
        return flat.new_zeros(self._dims).index_add_(0, places, torch.where(are_added, flat, -flat))


def _solve(rows_RP: Tensor, g_P: Tensor) -> Tensor | None:
    """Return the least-squares weights, `[R]`, or None where the rows' gradients are not independent.

    By the Gram matrix, with one step of refinement that takes back what squaring the condition costs.
    """
    if not len(rows_RP):
        return None
    scale_R = rows_RP.norm(dim=1)
    if not bool(torch.isfinite(scale_R).all()) or not bool((scale_R > 0).all()):
        return None
    unit_RP = rows_RP / scale_R[:, None]
    gram = unit_RP @ unit_RP.T
    eigenvalues = torch.linalg.eigvalsh(gram)
    if float(eigenvalues[0]) < _LEAST_EIGENVALUE * float(eigenvalues[-1]):
        return None
    w_R = torch.linalg.solve(gram, unit_RP @ g_P)
    w_R = w_R + torch.linalg.solve(gram, unit_RP @ (g_P - w_R @ unit_RP))
    weights_R: Tensor = w_R / scale_R
    return weights_R


def _residual(w_R: Tensor, rows_RP: Tensor, g_P: Tensor) -> float:
    return float((g_P - w_R @ rows_RP).norm() / g_P.norm())


def _by_row(ids: Sequence[int], weights: Tensor) -> dict[int, float]:
    """Sum what a row weighs in this window and from the window before."""
    found: dict[int, float] = {}
    for row, weight in zip(ids, weights.tolist(), strict=True):
        found[row] = found.get(row, 0.0) + weight
    return found
