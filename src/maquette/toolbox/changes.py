"""What an adapter changes of one weight, as tools compute with it: a product where it is one, never made whole needlessly.

A weight [O, I(, k, k)] is a matrix [O, N] here, N = I · k · k. Numbers are float64: sums over a file's changes then carry the
rounding of its own precision alone.

    ⟨B₁A₁, B₂A₂⟩ = tr((B₁ᵀB₂)(A₂A₁ᵀ))                     inner product of two products, by r × r matrices
    BA = Q_b (R_b R_aᵀ) Q_aᵀ                                singular values of a product, by two QRs and an r × r one
    MMᵀ = U S² Uᵀ                                           of a whole matrix, by its smaller side
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from maquette.families.common.layers import LoraModule
from maquette.lora.layer import LayerTrial, LoraLayer
from maquette.lora.size import sizes_of_layer
from maquette.lora.state import ModuleWeights

CONV_RANKS = 4
"""Dimensions of a convolution's weight."""
NOTHING = 1e-7
"""Share of the largest singular value below which one is rounding: its square is at the end of what float64 tells apart."""


@dataclass(frozen=True)
class Change:
    """A change of one weight: left [O, r] · right [r, N], or `left` [O, N] alone."""

    left: Tensor
    right: Tensor | None
    kernel: tuple[int, ...] = ()
    """() for a linear layer, (1, 1) or (3, 3) for a convolution."""

    @property
    def is_conv3x3(self) -> bool:
        return math.prod(self.kernel) > 1

    @property
    def squared(self) -> float:
        """Square of its Frobenius norm."""
        return max(inner(self, self), 0.0)

    def matrix(self) -> Tensor:
        """Return it whole, [O, N]."""
        return self.left if self.right is None else self.left @ self.right

    def times(self, factor: float) -> Change:
        """Return it `factor` times as strong."""
        return Change(self.left * factor, self.right, self.kernel)


def inner(one: Change, other: Change) -> float:
    """Return the inner product of two changes of one weight."""
    if one.right is None and other.right is None:
        return float((one.left * other.left).sum())
    if other.right is None:
        one, other = other, one
    assert other.right is not None
    if one.right is None:
        return float((other.left * (one.left @ other.right.T)).sum())
    return float(((one.left.T @ other.left) * (one.right @ other.right.T)).sum())


def joined(changes: list[Change]) -> Change:
    """Return the sum of changes of one weight: the products' factors beside each other, else the sum made whole."""
    if len(changes) == 1:
        return changes[0]
    kernel = changes[0].kernel
    if any(change.right is None for change in changes):
        total = changes[0].matrix().clone()
        for change in changes[1:]:
            total += change.matrix()
        return Change(total, None, kernel)
    left = torch.cat([change.left for change in changes], dim=1)
    return Change(left, torch.cat([_right(change) for change in changes]), kernel)


def _right(change: Change) -> Tensor:
    assert change.right is not None
    return change.right


# --- of an adapter ---------------------------------------------------------------------------------------


def change_of(
    key: str, weights: ModuleWeights, layer: LoraModule | None = None, base: Tensor | None = None
) -> Change:
    """Return what one module's adapter adds to its weight, scale included.

    layer: what it stands on, where tensors do not tell the kernel. base: the weight itself, for kinds that need it.
    """
    tensors = [tensor.detach().double() for tensor in weights.tensors]
    scale = weights.kind.scale(weights.alpha, weights.rank)
    alone = weights.kind.work().change(tensors)
    if alone is not None:
        return Change(alone[0] * scale, alone[1] if len(alone) > 1 else None, _kernel(weights, layer))
    assert base is not None, f"{key}: {weights.kind.title} changes the base's own weight"
    return Change(standing(key, weights, base).delta(0).double().flatten(1), None, tuple(base.shape[2:]))


def standing(key: str, weights: ModuleWeights, base: Tensor) -> LoraLayer:
    """Return the adapter of a module as a layer over the weight `base` [O, I(, k, k)]."""
    trial = LayerTrial(rank=weights.rank, alpha=weights.alpha, form=weights.kind)
    made = LoraLayer(key, _module(base), [trial], weights.kind.row)
    with torch.no_grad():
        for leaf, given in zip(made.leaves_of(0), weights.tensors, strict=True):
            leaf.copy_(given.reshape(leaf.shape))
    return made


def _module(base: Tensor) -> nn.Module:
    """Return a layer whose weight `base` is."""
    module: nn.Linear | nn.Conv2d
    if base.ndim == CONV_RANKS:
        module = nn.Conv2d(base.shape[1], base.shape[0], tuple(base.shape[2:]), bias=False, device="meta")  # type: ignore[arg-type]
    else:
        module = nn.Linear(base.shape[1], base.shape[0], bias=False, device="meta")
    module.weight = nn.Parameter(base, requires_grad=False)
    return module


def _kernel(weights: ModuleWeights, layer: LoraModule | None) -> tuple[int, ...]:
    if layer is not None:
        return sizes_of_layer(layer).kernel
    return next((shape[2:] for shape in weights.shapes if len(shape) == CONV_RANKS), ())


# --- singular values -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """A change as left [O, m] · diag(values [m]) · right [m, N], values falling."""

    left: Tensor
    values: Tensor
    right: Tensor
    kernel: tuple[int, ...]

    def first(self, rank: int) -> Parts:
        """Return the best approximation of this rank."""
        return Parts(self.left[:, :rank], self.values[:rank], self.right[:rank], self.kernel)


def parts_of(change: Change) -> Parts:
    """Return the singular values and vectors of a change."""
    if change.right is None or change.right.shape[0] >= min(change.left.shape[0], change.right.shape[1]):
        return _of_matrix(change.matrix(), change.kernel)
    left_q, left_r = torch.linalg.qr(change.left)
    right_q, right_r = torch.linalg.qr(change.right.T)
    left, values, right = torch.linalg.svd(left_r @ right_r.T)
    return Parts(left_q @ left, values, right @ right_q.T, change.kernel)


def _of_matrix(matrix: Tensor, kernel: tuple[int, ...]) -> Parts:
    """By the eigenvalues of the smaller side's Gram matrix: float64 keeps values down to 1e-7 of the largest."""
    if matrix.shape[0] > matrix.shape[1]:
        turned = _of_matrix(matrix.T, kernel)
        return Parts(turned.right.T, turned.values, turned.left.T, kernel)
    squares, vectors = torch.linalg.eigh(matrix @ matrix.T)
    left = vectors.flip(1)
    values = squares.flip(0).clamp(min=0).sqrt()
    values[values < values[:1] * NOTHING] = 0
    # A value of zero has no direction: what is divided there would be rounding alone.
    spread = (left.T @ matrix) / torch.where(values > 0, values, torch.inf).unsqueeze(1)
    return Parts(left, values, spread, kernel)
