"""What most kinds of adapters say alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maquette.lora.kinds.protocol import AdapterKind, Shape, Sizes

Spellings = tuple[tuple[str, str], ...]


class OneForm:
    """A kind that has one form: the same tensors on every layer."""

    spellings: Spellings = ()
    diffusers_endings: tuple[str, ...] | None = None
    has_strength: bool = True
    differs: bool = False
    needs_base: bool = False
    plus: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()
    dropouts: tuple[str, ...] = ("module_dropout",)
    weight_copies: float = 0.0

    @property
    def row(self) -> str:
        return self.name  # type: ignore[attr-defined]

    def alpha_on(self, alpha: float, rank: int) -> float:
        return alpha

    def on(self, sizes: Sizes, rank: int, factor: int) -> Any:
        return self

    def form_of(self, shapes: Mapping[str, Shape]) -> AdapterKind:
        return self  # type: ignore[return-value]

    def rank_on(self, sizes: Sizes, rank: int) -> int:
        return rank

    def scale(self, alpha: float, rank: int) -> float:
        return alpha / rank

    def dropped_width(self, sizes: Sizes, rank: int) -> int:
        return rank


def flat(shape: Shape) -> Shape:
    """Return a shape without the trailing ones that some programs give a matrix."""
    return shape[:2] if shape[2:] == (1, 1) else shape


def factorization(dimension: int, factor: int = -1) -> tuple[int, int]:
    """Return the two numbers whose product is `dimension` that LyCORIS chooses: the smaller first, near `factor`.

    -1: as near to each other as they can be. (arXiv:2309.14859)
    """
    if factor > 0 and dimension % factor == 0:
        return min(factor, dimension // factor), max(factor, dimension // factor)
    most = dimension if factor < 0 else factor
    smaller = max(
        (each for each in range(1, int(dimension**0.5) + 1) if dimension % each == 0 and each <= most),
        default=1,
    )
    return smaller, dimension // smaller
